// Mercurius on Fastify as they come, without its JIT: node mercurius.mjs PORT < board.json
import Fastify from 'fastify';
import mercurius from 'mercurius';
import { port, resolvers, schema } from './board.mjs';

const app = Fastify();
app.register(mercurius, { schema, resolvers });
await app.listen({ host: '127.0.0.1', port });
