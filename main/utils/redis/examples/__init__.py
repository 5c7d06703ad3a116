"""The bus by itself: register a ticker, publish its messages, read them."""
