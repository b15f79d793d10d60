"""The fault matrix on real processes: ``make faults``. Each row breaks something while events flow, and is compared.

A ledger keeps what was acknowledged; at rest the whole of Redis is compared with a recount of it (docs/reliability.md).
"""
