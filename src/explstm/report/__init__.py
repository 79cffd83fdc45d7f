"""The report: what run folders hold, as one HTML file that anyone can open.

runs         run folders read back without trust
page         what a page is made of, and the page
assembly     which parts there are, and in which order
verdict, outlook, growth, backtest, calibration, residuals, training, provenance   the parts
evidence     the tables of a backtest, which several parts read
"""
