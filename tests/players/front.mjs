//! Stands between one player and a node, and does what networks do: resets a connection, delays, sends elsewhere.

import { Agent, createServer, request as ask } from "node:http";

export class Front {
  /** Everything is sent on to the node itself, as a draining relay does. */
  moved = false;
  /** Answers wait for this. */
  held = Promise.resolve();
  /** How many segments are yet to be cut off in the middle. */
  cuts = 0;
  /** What the node answered other than 200, 206 and 304, and what was cut off. */
  refusals = [];
  requests = 0;
  #agent = new Agent({ keepAlive: true });

  static async before(url) {
    const front = new Front();
    front.node = new URL(url);
    front.server = createServer((asked, answer) => front.#pass(asked, answer).catch(() => answer.destroy()));
    await new Promise((listening) => front.server.listen(0, "127.0.0.1", listening));
    front.url = `http://127.0.0.1:${front.server.address().port}/`;
    return front;
  }

  async #pass(asked, answer) {
    this.requests++;
    await this.held;
    if (this.moved) {
      answer.writeHead(307, { location: new URL(asked.url, this.node).href, "access-control-allow-origin": "*" });
      return answer.end();
    }
    const media = /\.(m4s|ts)(\?|$)/.test(asked.url);
    const cut = media && this.cuts > 0;
    if (cut) this.cuts--;
    const { host: _, ...headers } = asked.headers;
    const to = { method: asked.method, headers, agent: this.#agent };
    const onward = ask(new URL(asked.url, this.node), to, (reply) => {
      if (reply.statusCode >= 400) this.refusals.push(`${reply.statusCode} ${asked.url.replace(/\?.*/, "")}`);
      answer.writeHead(reply.statusCode, reply.headers);
      if (!cut) return reply.pipe(answer);
      let passed = 0;
      reply.on("data", (octets) => {
        passed += octets.length;
        answer.write(octets);
        if (passed > 10_000) answer.socket?.resetAndDestroy();
      });
    });
    onward.on("error", () => (answer.headersSent ? answer.destroy() : answer.socket?.resetAndDestroy()));
    answer.on("close", () => onward.destroy());
    onward.end();
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
    this.#agent.destroy();
  }
}
