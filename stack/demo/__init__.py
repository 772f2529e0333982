"""Demo: a client and wallets with money, and prices without internet.

- wallets: makes the demo client and its two wallets, through api_client.
- fake_binance: runs a fake Binance beside the application.
"""
