// @ts-check
// The shared worker of all tabs. Its name ends with the address of the server.

import { Hub } from "./hub.js";

const hub = new Hub(self.name.split(" ")[1] ?? "");

addEventListener("connect", (/** @type {any} */ { ports: [port] }) => hub.add(port));
