"""Hugging Face's dataset viewer: what a public dataset holds, without a download.

`client` asks, `answers` are what comes back, `features` tells types in words, `preview` makes the first look
at a dataset of it.
"""
