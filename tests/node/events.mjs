// The `update` events of a stream as the package eventsource reads them: node events.mjs URL COUNT TOKEN.
// Prints the first COUNT as JSON: [{name, id, data}].
import { EventSource } from 'eventsource';

const [url, count, token] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
const source = new EventSource(url, {
  fetch: (address, options) => fetch(address, { ...options, headers: { ...options.headers, ...headers } }),
});
const seen = [];
source.addEventListener('update', ({ type, lastEventId, data }) => {
  seen.push({ name: type, id: lastEventId, data: JSON.parse(data) });
  if (seen.length === Number(count)) {
    source.close();
    console.log(JSON.stringify(seen));
  }
});
