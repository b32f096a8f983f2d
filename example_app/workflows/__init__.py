"""What the shop does in steps, each workflow in a file of its own."""

from __future__ import annotations

from .cancellable_wait import CancellableWait
from .checkout import Checkout
from .daily_digest import DailyDigest
from .dependency_recovery import DependencyRecovery
from .goods_return import GoodsReturn
from .local_ledger_checkout import LocalLedgerCheckout
from .manual_approval import ManualApproval
from .payment_recovery import PaymentRecovery
from .price_change import PriceChange
from .reimbursement import Reimbursement
from .reminders import Reminders
from .restocking import Restocking
from .retry_verification import RetryVerification
from .saga_checkout import SagaCheckout
from .stock_count import StockCount

WORKFLOWS = (
    Checkout,
    GoodsReturn,
    PaymentRecovery,
    DependencyRecovery,
    ManualApproval,
    DailyDigest,
    LocalLedgerCheckout,
    SagaCheckout,
    RetryVerification,
    CancellableWait,
    StockCount,
    PriceChange,
    Restocking,
    Reminders,
    Reimbursement,
)

__all__ = [
    "WORKFLOWS",
    "CancellableWait",
    "Checkout",
    "DailyDigest",
    "DependencyRecovery",
    "GoodsReturn",
    "LocalLedgerCheckout",
    "ManualApproval",
    "PaymentRecovery",
    "PriceChange",
    "Reimbursement",
    "Reminders",
    "Restocking",
    "RetryVerification",
    "SagaCheckout",
    "StockCount",
]
