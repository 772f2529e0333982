"""Health: checks of every component, and the report made of them.

report            all checks side by side, within a second
checks, impact    the check of each component; what its outage means for transfers
redis_info        pure reading of INFO: memory, findings, counters
amqp_tls          TLS of RabbitMQ, verified as its URL says
broker_probe      one reading of the broker, Redis or RabbitMQ
server_watch      logs what begins and ends to be wrong with broker and cache
database_breaker  circuit breaker that is switched by probes
"""
