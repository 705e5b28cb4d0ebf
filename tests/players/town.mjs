//! A primary, a traffic manager, two relays that stand by, and a crowd that fills the primary: a player that joins lands on
//! a relay, and can be moved to the other and to the primary. What is to happen when is `moves.mjs`' business.
//!
//! All three nodes have one port, on addresses of their own, as nodes have that are machines.

import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { free, pause, run } from "./child.mjs";
import { chosen, Stream } from "./stream.mjs";

const REGION = "paris";
const RELAYS = { "relay-a": "127.0.0.2", "relay-b": "127.0.0.3" };
/** Viewers of the region that the primary takes. */
const PLACES = 6;
/** How long anything may take that is waited for, in seconds. */
const PATIENCE = 40;

export class Town {
  /** What the player was sent, by the number of the segment: node, rung, and when. */
  sent = new Map();
  /** The player's names as a viewer: more than one if it joined again. */
  names = new Set();
  said = [];
  #crowd = [];
  #strangers = new Set();
  #full = false;
  #programs = [];
  #token = randomBytes(16).toString("hex");

  static async start(folder, scratch) {
    const town = new Town();
    const [port, desk] = [await free(), await free()];
    town.folder = folder;
    town.manager = `http://127.0.0.1:${desk}/`;
    writeFileSync(`${scratch}/token`, town.#token);
    const chose = (choice) => town.#note("primary", choice);
    // Whatever the path carries, it is loopback: a change of the rung is the move's.
    town.stream = await Stream.start(folder, { port, rule: "mpc", more: ["--manager", town.manager], chose });
    town.#run("traffic-manager", [
      ...[town.stream.url, `${PLACES}`, "--listen", `127.0.0.1:${desk}`, "--launcher", "none"],
      ...["--cooldown-seconds", "4", "--heartbeat-seconds", "1", "--operator-token-file", `${scratch}/token`],
    ]);
    for (const [name, ip] of Object.entries(RELAYS)) {
      const said = (line) => town.#note(name, chosen(line)) ?? (process.env.RAW && town.said.push(`${Date.now()} ${name} ${line}`));
      const place = ["--listen", `${ip}:${port}`, "--private-listen", "127.0.0.1:0"];
      town.#run("local-server", [ip, ...place, "--manager", town.manager, "--name", name, "--region", REGION], said);
    }
    await town.until("all are heard", ({ ready, nodes }) => ready && nodes.length === 3);
    return town;
  }

  /** Takes all places of the primary, so that a relay is put to use. */
  async fill() {
    for (let place = 0; place < PLACES; place++) {
      this.#crowd.push(this.#run("client", [this.manager, "--region", REGION, "--seconds", "3600"]));
    }
    const on = (nodes, node) => nodes.find((seen) => seen.node === node)?.viewers;
    await this.until("the primary is full", ({ nodes }) => on(nodes, "primary") === PLACES);
    await this.until("a relay serves", ({ nodes }) => nodes.some(({ kind, state }) => kind === "relay" && state === "active"));
    this.#full = true;
  }

  join(query) {
    return `${this.manager}watch/live.m3u8?region=${REGION}${query.replace("?", "&")}`;
  }

  /** Waits until the player has been sent so many segments by one node, which is not one of `others`; says by which. */
  async served(segments, others = []) {
    for (const deadline = Date.now() + PATIENCE * 1000; Date.now() < deadline; await pause(0.1)) {
      const nodes = [...this.sent.values()].map(({ node }) => node).filter((node) => !others.includes(node));
      for (const node of new Set(nodes)) if (nodes.filter((other) => other === node).length >= segments) return node;
    }
    throw new Error(`the player is not served by anybody but ${others.join(" and ") || "nobody"}`);
  }

  /** How many segments the player was sent by the node. */
  sentBy(node) {
    return [...this.sent.values()].filter((sent) => sent.node === node).length;
  }

  /** Puts a relay to use though nobody is there; says which. */
  async staff() {
    await this.pin({ relays: 1 });
    const works = ({ kind, state }) => kind === "relay" && state === "active";
    const { nodes } = await this.until("a relay serves", ({ nodes }) => nodes.some(works));
    this.#full = true;
    return nodes.find(works).node;
  }

  /** As an operator who wants the node empty. */
  drain(node) {
    return this.#order("POST", `nodes/${node}/drain`);
  }

  /** As an operator who wants the region's viewers on a node, or so many relays for it. */
  pin(pin) {
    return this.#order("PUT", `regions/${REGION}/pin`, pin);
  }

  unpin() {
    return this.#order("DELETE", `regions/${REGION}/pin`);
  }

  /** Some of the crowd go, so that there are places on the primary. */
  async leave(viewers) {
    await Promise.all(this.#crowd.splice(0, viewers).map((viewer) => viewer.stop()));
  }

  /** What the manager knows. */
  async overview() {
    return (await fetch(`${this.manager}v1/overview`)).json();
  }

  async until(what, so) {
    let seen;
    for (const deadline = Date.now() + PATIENCE * 1000; Date.now() < deadline; await pause(0.2)) {
      seen = await this.overview().catch(() => null);
      if (seen && so(seen)) return seen;
    }
    throw new Error(`after ${PATIENCE} s this was still not so: ${what}; the manager says ${JSON.stringify(seen)}`);
  }

  async stop() {
    await Promise.all(this.#programs.map((program) => program.stop()));
    await this.stream.stop();
  }

  async #order(method, path, order) {
    const headers = { authorization: `Bearer ${this.#token}`, "content-type": "application/json" };
    const answer = await fetch(`${this.manager}v1/${path}`, { method, headers, body: order && JSON.stringify(order) });
    if (!answer.ok) throw new Error(`${method} ${path} is not obeyed: ${answer.status} ${await answer.text()}`);
  }

  #run(program, parameters, said) {
    const started = run(`${this.folder}/${program}`, parameters, { said, env: { RUST_LOG: "info,spillway::origin=debug", NO_COLOR: "1" } });
    this.#programs.push(started);
    return started;
  }

  /** Whoever came before the primary was full is of the crowd. */
  #note(node, choice) {
    if (!choice) return;
    if (!this.#full) this.#strangers.add(choice.viewer);
    if (this.#strangers.has(choice.viewer)) return;
    this.names.add(choice.viewer);
    this.sent.set(choice.number, { node, rung: choice.rung, at: Date.now() });
  }
}
