//! The manager's overview as it comes over the wire, checked once where it enters the page.

export interface Pin {
  relays: number | null;
  node: string | null;
}

export interface Region {
  region: string;
  viewers: number;
  on_primary: number;
  on_relays: number;
  relays: number;
  threshold: number;
  state: string;
  /** Viewers more each second; 0 unless that is certain. */
  rise: number;
  pinned: Pin | null;
  egress_bps: number;
  price: number;
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
  weight: number;
}

export interface Alert {
  name: string;
  grave: boolean;
  node: string | null;
  region: string | null;
  stream: string | null;
  what: string;
  for_s: number;
}

export interface Decision {
  at: string;
  region: string | null;
  node: string | null;
  action: string;
  reason: string;
}

export interface Overview {
  ready: boolean;
  /** False while another manager decides. */
  active: boolean;
  dry_run: boolean;
  /** There is an operator's token. */
  controls: boolean;
  threshold: number | null;
  uptime_s: number | null;
  software: string;
  regions: Region[];
  nodes: Node[];
  alerts: Alert[];
  /** Null where they come by themselves. */
  decisions: Decision[] | null;
}

type Raw = Record<string, unknown>;

/** Fills what an older or newer manager leaves out; throws when it is no overview at all. */
export function asOverview(value: unknown): Overview {
  const raw = value as Raw | null;
  if (typeof raw !== "object" || raw === null || !Array.isArray(raw["nodes"])) {
    throw new Error("the traffic manager's answer is not an overview: it has no list of nodes");
  }
  return {
    ready: raw["ready"] === true,
    active: raw["active"] !== false,
    dry_run: raw["dry_run"] === true,
    controls: raw["controls"] === true,
    threshold: number(raw["threshold"]),
    uptime_s: number(raw["uptime_s"]),
    software: text(raw["software"]),
    regions: list(raw["regions"]).map(asRegion),
    nodes: list(raw["nodes"]).map(asNode),
    alerts: list(raw["alerts"]).map(asAlert),
    decisions: Array.isArray(raw["decisions"]) ? list(raw["decisions"]).map(asDecision) : null,
  };
}

export function asDecision(value: unknown): Decision {
  const raw = (value ?? {}) as Raw;
  return {
    at: text(raw["at"]),
    region: maybe(raw["region"]),
    node: maybe(raw["node"]),
    action: text(raw["action"]),
    reason: text(raw["reason"]),
  };
}

function asRegion(raw: Raw): Region {
  const pin = raw["pinned"] as Raw | null | undefined;
  return {
    region: text(raw["region"]),
    viewers: number(raw["viewers"]) ?? 0,
    on_primary: number(raw["on_primary"]) ?? 0,
    on_relays: number(raw["on_relays"]) ?? 0,
    relays: number(raw["relays"]) ?? 0,
    threshold: number(raw["threshold"]) ?? 0,
    state: text(raw["state"]) || "normal",
    rise: number(raw["rise"]) ?? 0,
    pinned: pin ? { relays: number(pin["relays"]), node: maybe(pin["node"]) } : null,
    egress_bps: number(raw["egress_bps"]) ?? 0,
    price: number(raw["price"]) ?? 0,
  };
}

function asNode(raw: Raw): Node {
  return {
    node: text(raw["node"]),
    kind: text(raw["kind"]),
    region: maybe(raw["region"]),
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
    trouble: maybe(raw["trouble"]),
    closed: raw["closed"] === true,
    weight: number(raw["weight"]) ?? 1,
  };
}

function asAlert(raw: Raw): Alert {
  return {
    name: text(raw["name"]),
    grave: raw["grave"] === true,
    node: maybe(raw["node"]),
    region: maybe(raw["region"]),
    stream: maybe(raw["stream"]),
    what: text(raw["what"]),
    for_s: number(raw["for_s"]) ?? 0,
  };
}

export function list(value: unknown): Raw[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "object" && item !== null) : [];
}

export function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function maybe(value: unknown): string | null {
  return value == null ? null : text(value);
}
