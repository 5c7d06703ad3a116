"""The web page: what the bus carries, who holds what, and why a ticker is silent.

It reads Redis only. Pure files take messages and times and give the picture (`board`, `rows`,
`diagnosis`, `gaps`, `orders`, `redis_facts`, `market`, `chart`); thin shells read Redis (`reader`),
ask the broker (`registrar`) and speak HTTP (`web`, `guard`, `stream`, `server`).
"""
