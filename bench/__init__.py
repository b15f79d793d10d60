"""The benchmarks: each compares against the alternative in the same run, prints one table and writes JSON.

Times on a shared machine are noisy, so medians and spread are printed, and it is the ratios that count.
"""
