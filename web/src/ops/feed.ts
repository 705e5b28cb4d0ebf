//! Keeps the overview coming: server-sent events, polling where those fail, and both again later.
//!
//! It knows whether what it last delivered is fresh, and whether the manager is another run of itself; showing that is the
//! page's business.

import { asDecision, asOverview, type Decision, type Overview } from "./overview";

export type Link = "connecting" | "live" | "polling" | "lost";

/** The manager sends an overview each second; three missed ones are no coincidence. */
const STALE_AFTER = 4_000;
const POLL_EVERY = 1_000;
/** How long polling goes on before events are tried again. */
const EVENTS_AGAIN = 20_000;
/** A lost connection is worth a try each so often: a manager that is started again is there within a second. */
const LOST_AGAIN = 2_000;

export class Feed {
  link: Link = "connecting";
  /** Wall clock of the last overview, in milliseconds since the epoch. */
  heardAt: number | null = null;
  onoverview: (overview: Overview) => void = () => {};
  ondecision: (decision: Decision) => void = () => {};
  onlink: () => void = () => {};
  /** The manager was started again. */
  onrestart: () => void = () => {};

  private events: EventSource | null = null;
  private eventsTriedAt = 0;
  private polling = false;
  private uptime: number | null = null;

  start(): void {
    this.listen();
    window.setInterval(() => this.watch(), POLL_EVERY);
  }

  private listen(): void {
    this.events?.close();
    this.eventsTriedAt = Date.now();
    const events = new EventSource("/v1/events");
    this.events = events;
    events.addEventListener("overview", (event) => {
      this.polling = false;
      this.deliver(event.data, "live");
    });
    events.addEventListener("decision", (event) => {
      const decision = parse(event.data);
      if (decision !== null) this.ondecision(asDecision(decision));
    });
    events.addEventListener("error", () => {
      // Closed means the browser has given up (a status, a wrong type); else it reconnects itself.
      if (events.readyState === EventSource.CLOSED) this.polling = true;
    });
  }

  /** Once a second: is what we show still true, and is there a better way to hear? */
  private watch(): void {
    const stale = this.heardAt === null || Date.now() - this.heardAt > STALE_AFTER;
    const tried = Date.now() - this.eventsTriedAt;
    if (stale && this.heardAt !== null) this.enter("lost");
    if (stale && tried > STALE_AFTER) this.polling = true;
    if (!this.polling) return;
    void this.fetchOnce();
    if (tried > (this.link === "lost" ? LOST_AGAIN : EVENTS_AGAIN)) this.listen();
  }

  private async fetchOnce(): Promise<void> {
    try {
      const reply = await fetch("/v1/overview", { cache: "no-store", signal: AbortSignal.timeout(3_000) });
      if (reply.ok && this.polling) this.deliver(await reply.text(), "polling");
    } catch {
      if (this.heardAt === null) this.enter("lost");
    }
  }

  private deliver(body: string, link: Link): void {
    const value = parse(body);
    if (value === null) return;
    const overview = asOverview(value);
    this.heardAt = Date.now();
    const before = this.uptime;
    this.uptime = overview.uptime_s;
    if (before !== null && this.uptime !== null && this.uptime < before) this.onrestart();
    this.onoverview(overview);
    this.enter(link);
  }

  private enter(link: Link): void {
    this.link = link;
    this.onlink();
  }
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
