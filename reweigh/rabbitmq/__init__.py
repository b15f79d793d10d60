"""RabbitMQ: the bridge that carries its events to Kafka, and the sender that puts events into it.

``settings`` names the server and the queue, ``judging`` says what becomes of one message, ``handling`` settles a batch
of them, ``bridge`` keeps the connection; ``confirms`` publishes many messages and learns which are safe, ``sender`` is
what a shop's own program uses. What pika raises does not leave this package.
"""
