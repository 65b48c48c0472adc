"""Between Textual and the terminal: driver, keyboard, output without control sequences."""
