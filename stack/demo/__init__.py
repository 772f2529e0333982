"""Demo: a client and wallets with money, and a Binance without internet."""
