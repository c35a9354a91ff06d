// Apollo Server as it comes: node apollo.mjs PORT < board.json
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import { port, resolvers, schema } from './board.mjs';

const server = new ApolloServer({ typeDefs: schema, resolvers });
await startStandaloneServer(server, { listen: { host: '127.0.0.1', port } });
