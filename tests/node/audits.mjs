// The audits of GraphQL over HTTP against a server: node audits.mjs URL. Prints [{name, status, reason}] as JSON.
import { serverAudits } from 'graphql-http';

const results = await Promise.all(serverAudits({ url: process.argv[2] }).map((audit) => audit.fn()));
console.log(JSON.stringify(results.map(({ name, status, reason }) => ({ name, status, reason }))));
