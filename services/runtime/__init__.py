"""What every process needs and none owns: configuration, life and death, errors, calls, stores, logs and metrics.

No business of a single service is in here; a module enters only with two users. A process is put together in one
place, its `__main__`, in this form:

    async def main(config: QuizConfig) -> None:
        async with AsyncExitStack() as stack:  # closed last-opened-first
            ops = await stack.enter_async_context(OpsServer(config.ops_address))  # /livez answers from here on
            mongo = await stack.enter_async_context(open_mongo(config.mongo, "quiz"))
            nats = await stack.enter_async_context(open_jetstream(config.nats, "quiz"))
            verifier = await stack.enter_async_context(open_verifier(config.auth))
            publisher = QuizPublisher(nats.jetstream)
            service = QuizService(QuizStore(mongo.database), publisher, now=utc_now)
            server = GrpcServer(
                config.grpc_address,
                [partial(add_QuizServiceServicer_to_server, QuizServicer(service))],
                verifier=verifier,
                access=ACCESS,
                reflection=not config.process.production,
            )
            watch = StoreWatch(mongo=mongo.ping, nats=nats.ping)
            await run(ops, publisher, watch, server, grace=config.process.shutdown_grace)


    if __name__ == "__main__":
        settings = from_command_line(QuizConfig)
        configure(settings.process, "quiz")
        execute(main, settings)

`run` starts what it is given in that order and stops it in the order that `lifecycle` states; what has `start` and
`stop` is a server, and one that flushes what was accepted says `stage = Stage.PUBLISHER`.
"""
