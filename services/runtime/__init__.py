"""The technology that every process needs: configuration, lifecycle, errors, gRPC, store clients, logs and metrics.

It knows nothing of quizzes, scores or boards, and a module is added only with two users. A process is composed in one place,
its `__main__`, in this form:

    async def main(config: QuizConfig) -> None:
        async with AsyncExitStack() as stack:  # closed last-opened-first
            ops = await stack.enter_async_context(OpsServer(config.ops_address))  # /livez answers from here on
            mongo = await stack.enter_async_context(open_mongo(config.mongo, "quiz"))
            nats = await stack.enter_async_context(open_jetstream(config.nats, "quiz"))
            verifier = await stack.enter_async_context(open_verifier(config.auth))
            publisher = QuizPublisher(nats.jetstream)
            service = QuizService(QuizStore(mongo.database), publisher, now=mongo.clock.now)
            server = GrpcServer(
                config.grpc_address,
                [partial(add_QuizServiceServicer_to_server, QuizServicer(service))],
                verifier=verifier,
                reflection=not config.process.production,
            )
            watch = StoreWatch(mongo=mongo.ping, nats=nats.ping)
            await run(ops, publisher, watch, server, grace=config.process.shutdown_grace)


    if __name__ == "__main__":
        settings = from_command_line(QuizConfig)
        configure(settings.process, "quiz")
        execute(main, settings, startup=settings.process.startup_timeout)

`run` starts the servers in that order and stops them in the order documented in `lifecycle`. A server has `start` and `stop`;
one that flushes accepted work has `stage = Stage.PUBLISHER`.
"""
