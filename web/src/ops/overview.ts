//! The manager's overview as it comes over the wire, checked once where it enters the page.

export interface Region {
  region: string;
  viewers: number;
  on_primary: number;
  on_relays: number;
  relays: number;
  threshold: number;
  state: string;
  egress_bps: number;
}

export interface Node {
  node: string;
  kind: string;
  region: string | null;
  state: string;
  url: string;
  viewers: number;
  egress_bps: number;
  budget_bps: number | null;
  price: number;
  heard_ms: number | null;
  uptime_s: number | null;
  software: string;
  launched: boolean;
  streams: Record<string, number>;
  /** Why nobody is sent there if it can be helped. */
  trouble: string | null;
  /** The operator wants it drained. */
  closed: boolean;
}

export interface Decision {
  at: string;
  region: string | null;
  node: string | null;
  action: string;
  reason: string;
}

/** Samples at a fixed interval, oldest first, the last one being now. */
export interface PastSeries {
  interval_s: number;
  regions: Record<string, { viewers?: number[]; egress_bps?: number[] }>;
  nodes: Record<string, { egress_bps?: number[] }>;
}

export interface Overview {
  ready: boolean;
  /** False while another manager decides. */
  active: boolean;
  dry_run: boolean;
  threshold: number | null;
  uptime_s: number | null;
  regions: Region[];
  nodes: Node[];
  decisions: Decision[];
  history: PastSeries | null;
}

/** Fills what an older or newer manager leaves out; throws when it is no overview at all. */
export function asOverview(value: unknown): Overview {
  const raw = value as Record<string, unknown> | null;
  if (typeof raw !== "object" || raw === null || !Array.isArray(raw["nodes"])) {
    throw new Error("the traffic manager's answer is not an overview: it has no list of nodes");
  }
  return {
    ready: raw["ready"] === true,
    active: raw["active"] !== false,
    dry_run: raw["dry_run"] === true,
    threshold: number(raw["threshold"]),
    uptime_s: number(raw["uptime_s"]),
    regions: list(raw["regions"]).map(asRegion),
    nodes: list(raw["nodes"]).map(asNode),
    decisions: list(raw["decisions"]).map(asDecision),
    history: asHistory(raw["history"]),
  };
}

export function asDecision(value: unknown): Decision {
  const raw = (value ?? {}) as Record<string, unknown>;
  return {
    at: text(raw["at"]),
    region: raw["region"] == null ? null : text(raw["region"]),
    node: raw["node"] == null ? null : text(raw["node"]),
    action: text(raw["action"]),
    reason: text(raw["reason"]),
  };
}

function asRegion(raw: Record<string, unknown>): Region {
  return {
    region: text(raw["region"]),
    viewers: number(raw["viewers"]) ?? 0,
    on_primary: number(raw["on_primary"]) ?? 0,
    on_relays: number(raw["on_relays"]) ?? 0,
    relays: number(raw["relays"]) ?? 0,
    threshold: number(raw["threshold"]) ?? 0,
    state: text(raw["state"]) || "normal",
    egress_bps: number(raw["egress_bps"]) ?? 0,
  };
}

function asNode(raw: Record<string, unknown>): Node {
  return {
    node: text(raw["node"]),
    kind: text(raw["kind"]),
    region: raw["region"] == null ? null : text(raw["region"]),
    state: text(raw["state"]),
    url: text(raw["url"]),
    viewers: number(raw["viewers"]) ?? 0,
    egress_bps: number(raw["egress_bps"]) ?? 0,
    budget_bps: number(raw["budget_bps"]),
    price: number(raw["price"]) ?? 0,
    heard_ms: number(raw["heard_ms"]),
    uptime_s: number(raw["uptime_s"]),
    software: text(raw["software"]),
    launched: raw["launched"] === true,
    streams: (raw["streams"] ?? {}) as Record<string, number>,
    trouble: raw["trouble"] == null ? null : text(raw["trouble"]),
    closed: raw["closed"] === true,
  };
}

function asHistory(value: unknown): PastSeries | null {
  const raw = value as Partial<PastSeries> | null | undefined;
  if (!raw || typeof raw.interval_s !== "number" || raw.interval_s <= 0) return null;
  return { interval_s: raw.interval_s, regions: raw.regions ?? {}, nodes: raw.nodes ?? {} };
}

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "object" && item !== null) : [];
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
