//! A primary that streams the test pattern and changes the rung every one to four segments, and what is known of its
//! stream: which picture belongs to which segment, and which segment was sent in which rung.

import { pause, run } from "./child.mjs";
import { FPS, RUNGS, source } from "./pattern.mjs";

export class Stream {
  /** What a run's verdict needs; see verdict.mjs. */
  rungs = new Map();
  first = 0;
  perSegment = 0;
  began = 0;
  said = [];
  #sizes = new Map();
  #command;
  #chose;

  static async start(folder, { more = [], rungs = RUNGS, rule = "cycle", ip = "127.0.0.1", port = 0, input = source(), chose } = {}) {
    const stream = new Stream();
    stream.#chose = chose;
    stream.#command = (port) => [
      `${folder}/primary`,
      [
        ...[ip, input, "--listen", `${ip}:${port}`, "--private-listen", "127.0.0.1:0", "--preset", "ultrafast"],
        ...["--rule", rule, ...rungs.flatMap((rung) => ["--rung", rung]), ...more],
      ],
    ];
    await stream.#run(port);
    await stream.#look();
    return stream;
  }

  /** Kills the primary, and starts it again where it was. */
  async restart() {
    this.program.child.kill("SIGKILL");
    await this.program.stop();
    await this.#run(new URL(this.url).port);
  }

  async #run(port) {
    let ready;
    const listening = new Promise((heard) => (ready = heard));
    const said = (line) => {
      const [, url, operator] = /^ready (\S+) private (\S+)/.exec(line) ?? [];
      if (url) ready({ url, operator });
      this.#hear(line);
    };
    const env = { RUST_LOG: "info,spillway=debug", NO_COLOR: "1" };
    this.program = run(...this.#command(port), { said, env });
    const addresses = await Promise.race([listening, this.program.ended, pause(30)]);
    if (!addresses?.url) throw new Error(`primary is not ready; it said\n${this.said.slice(-20).join("\n")}`);
    Object.assign(this, addresses);
  }

  join(query = "") {
    return `${this.url}live/live/index.m3u8${query}`;
  }

  stop() {
    return this.program.stop();
  }

  /** Waits for the stream, and learns how it counts: its first playlist still lists its first segment. */
  async #look() {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const answer = await fetch(this.join()).catch(() => null);
      if (answer?.ok) {
        const [, variant] = /^(v\/.*)$/m.exec(await answer.text()) ?? [];
        const list = await (await fetch(new URL(variant, this.join()))).text();
        this.first = Number(/^#EXT-X-MEDIA-SEQUENCE:(\d+)/m.exec(list)[1]);
        this.perSegment = Math.round(Number(/^#EXTINF:([\d.]+)/m.exec(list)[1]) * FPS);
        this.began = Date.parse(/^#EXT-X-PROGRAM-DATE-TIME:(.*)$/m.exec(list)[1]);
        break;
      }
      if (Date.now() > deadline) throw new Error(`nothing to watch; the primary said\n${this.said.slice(-20).join("\n")}`);
      await pause(0.3);
    }
    for (const { rung, width, height } of (await (await fetch(`${this.operator}v1/streams`)).json())[0].rungs) {
      this.#sizes.set(rung, { name: rung, width, height });
    }
  }

  #hear(line) {
    const plain = line.replace(/\x1b\[[\d;]*m/g, "");
    const choice = chosen(plain);
    if (choice) {
      // The rule goes by the number, so this is the same for all viewers.
      this.rungs.set(choice.number, choice.rung);
      this.#chose?.(choice);
    } else if (!/canonical object|delivered/.test(plain)) this.said.push(plain);
  }

  /** For the verdict: the rungs by their sizes. */
  facts() {
    const rungs = new Map([...this.rungs].map(([number, rung]) => [number, this.#sizes.get(rung) ?? { name: rung }]));
    return { rungs, first: this.first, perSegment: this.perSegment, began: this.began };
  }
}

/** What a node's log says of a rung that it chose: for whom, for which segment, and which. */
export function chosen(line) {
  const [, viewer, number, rung] = /rung chosen viewer=(\S+) number=(\d+) .*?\brung="?([\w.-]+)/.exec(line) ?? [];
  return viewer && { viewer, number: Number(number), rung };
}
