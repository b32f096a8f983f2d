"""Flask-SquidMesh with `SQUIDMESH_EXECUTOR = "database"` and otherwise its defaults; `pool_size` in
`SQLALCHEMY_ENGINE_OPTIONS` allows each thread a connection, as the docs say.

Workers are processes of their own, made as `flask squidmesh worker` makes them. The chains have one thread; on SQLite
it is in the process that starts the runs. Who waits for a run is told by the signal `run_transitioned`, which comes
after the last commit.
"""
