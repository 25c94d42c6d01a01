"""The engine: from Nodes to values. The one place where the compiler's wing and the runtime's meet.

walk writes a signature of pending Nodes, table and planning find or make its Plan, execute runs it
(with tiers choosing interpreter or machine code), realize joins them under the lock; leaves hands
memory in and out. What the api needs of it is handed on here.
"""

from charl.engine.realize import cache_info, clear_plans, wait_compiled
from charl.runtime.pool import stats as memory_stats
from charl.runtime.threads import num_threads
