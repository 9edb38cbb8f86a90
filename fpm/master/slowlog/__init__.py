"""The slow logs of the pools, and the files behind them."""
