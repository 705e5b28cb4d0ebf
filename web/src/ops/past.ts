//! What regions and nodes were like: a quarter of an hour in steps of two seconds, a day in steps of a minute.
//!
//! The manager's own past is taken where it has one, and what this page saw itself where it has none, as before a restart
//! of the manager. Times are this browser's, so a manager whose clock is off still draws up to "now".

import type { Overview } from "./overview";
import { list } from "./overview";

export type Span = "15m" | "24h";
type Column = (number | null)[];

/** Names of which a past is kept; of more nobody could see a line. */
const MOST = 256;

/** Named columns over one shared axis of seconds since the epoch. A step keeps the most that was seen in it. */
export class Series {
  times: number[] = [];
  columns = new Map<string, Column>();

  constructor(
    readonly step: number,
    readonly keep: number,
  ) {}

  push(at: number, values: ReadonlyMap<string, number | null>): void {
    const last = this.times.at(-1);
    const same = last !== undefined && at - last < this.step;
    if (last !== undefined && at < last) return;
    if (!same) {
      this.times.push(at);
      for (const column of this.columns.values()) column.push(null);
    }
    const end = this.times.length - 1;
    for (const [name, value] of values) {
      if (value === null) continue;
      if (this.columns.size >= MOST && !this.columns.has(name)) continue;
      const column = this.columns.get(name) ?? new Array<number | null>(this.times.length).fill(null);
      this.columns.set(name, column);
      column[end] = Math.max(column[end] ?? value, value);
    }
    this.trim(at - this.keep);
  }

  /** Largest first, by the mean over the last samples: a name must not jump about each second. */
  largest(): string[] {
    const weight = new Map<string, number>();
    for (const [name, column] of this.columns) {
      const recent = column.slice(-30);
      weight.set(name, recent.reduce<number>((sum, value) => sum + (value ?? 0), 0) / Math.max(1, recent.length));
    }
    return [...weight.keys()].sort((a, b) => (weight.get(b) ?? 0) - (weight.get(a) ?? 0) || a.localeCompare(b));
  }

  /** What is older than `past` stays, what is newer comes after it. */
  merge(times: readonly number[], columns: ReadonlyMap<string, Column>): void {
    const [first, last] = [times[0] ?? Infinity, times.at(-1) ?? -Infinity];
    const own = new Series(this.step, this.keep);
    [own.times, own.columns] = [this.times, this.columns];
    [this.times, this.columns] = [[], new Map()];
    const row = (from: ReadonlyMap<string, Column>, i: number) =>
      new Map([...from].map(([name, column]) => [name, column[i] ?? null]));
    const copy = (keep: (at: number) => boolean) =>
      own.times.forEach((at, i) => {
        if (keep(at)) this.push(at, row(own.columns, i));
      });
    copy((at) => at < first - this.step / 2);
    times.forEach((at, i) => this.push(at, row(columns, i)));
    copy((at) => at > last + this.step / 2);
  }

  private trim(oldest: number): void {
    if ((this.times[0] ?? Infinity) >= oldest) return;
    const keep = this.times.findIndex((time) => time >= oldest);
    this.times = this.times.slice(keep);
    for (const [name, column] of this.columns) {
      const rest = column.slice(keep);
      if (rest.some((value) => value !== null)) this.columns.set(name, rest);
      else this.columns.delete(name);
    }
  }
}

/** One span of everything that is drawn. */
export class Past {
  readonly regions: Series;
  readonly nodes: { egress: Series; viewers: Series; price: Series };
  readonly all: { viewers: Series; egress: Series; relays: Series };
  private fetchedAt = -Infinity;

  constructor(
    readonly span: Span,
    private readonly step: number,
    readonly keep: number,
  ) {
    const series = () => new Series(step, keep);
    this.regions = series();
    this.nodes = { egress: series(), viewers: series(), price: series() };
    this.all = { viewers: series(), egress: series(), relays: series() };
  }

  add(overview: Overview, now: number): void {
    const of = <T>(all: T[], name: (one: T) => string, value: (one: T) => number) =>
      new Map(all.map((one) => [name(one), value(one)]));
    const nodes = overview.nodes;
    this.regions.push(now, of(overview.regions, (r) => r.region, (r) => r.viewers));
    this.nodes.egress.push(now, of(nodes, (n) => n.node, (n) => n.egress_bps));
    this.nodes.viewers.push(now, of(nodes, (n) => n.node, (n) => n.viewers));
    this.nodes.price.push(now, of(nodes, (n) => n.node, (n) => n.price));
    const sum = (value: (node: Overview["nodes"][number]) => number) => nodes.reduce((all, node) => all + value(node), 0);
    const works = (state: string) => state === "active" || state === "draining";
    this.all.viewers.push(now, new Map([["", sum((n) => n.viewers)]]));
    this.all.egress.push(now, new Map([["", sum((n) => n.egress_bps)]]));
    this.all.relays.push(now, new Map([["", sum((n) => (n.kind === "relay" && works(n.state) ? 1 : 0))]]));
  }

  /** Asks the manager for its own, if it was not asked lately; `again` if it is another run of it. */
  async fetch(again: boolean): Promise<void> {
    const now = Date.now() / 1000;
    if (!again && now - this.fetchedAt < this.keep / 10) return;
    this.fetchedAt = now;
    try {
      const reply = await fetch(`/v1/history?span=${this.span}`, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
      if (!reply.ok) throw new Error(`${reply.status}`);
      this.take((await reply.json()) as Record<string, unknown>, now);
    } catch {
      // It is asked again with the next connection; until then the page draws what it saw.
      this.fetchedAt = -Infinity;
    }
  }

  private take(told: Record<string, unknown>, now: number): void {
    const step = Number(told["interval_s"]) || this.step;
    const merge = (series: Series, from: unknown, key: string) => {
      const columns = new Map<string, Column>();
      for (const [name, one] of Object.entries((from ?? {}) as Record<string, Record<string, unknown>>)) {
        const column = one[key];
        if (Array.isArray(column)) columns.set(name, column as Column);
      }
      const length = Math.max(0, ...[...columns.values()].map((column) => column.length));
      series.merge(Array.from({ length }, (_, i) => now - (length - 1 - i) * step), columns);
    };
    merge(this.regions, told["regions"], "viewers");
    merge(this.nodes.egress, told["nodes"], "egress_bps");
    merge(this.nodes.viewers, told["nodes"], "viewers");
    merge(this.nodes.price, told["nodes"], "price");
    const all = list([told["all"]])[0] ?? {};
    merge(this.all.viewers, { "": all }, "viewers");
    merge(this.all.egress, { "": all }, "egress_bps");
    merge(this.all.relays, { "": all }, "relays");
  }
}
