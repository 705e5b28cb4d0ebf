//! Numbers and times as people read them. Units are in the names: bps is bit/s, ms milliseconds.

const DASH = "–";

/** 1234567 -> "1.23 Mbit/s". */
export function bitrate(bps: number | null | undefined): string {
  if (bps === null || bps === undefined || !Number.isFinite(bps)) return DASH;
  if (bps >= 1e9) return `${significant(bps / 1e9)} Gbit/s`;
  if (bps >= 1e6) return `${significant(bps / 1e6)} Mbit/s`;
  if (bps >= 1e3) return `${significant(bps / 1e3)} kbit/s`;
  return `${Math.round(bps)} bit/s`;
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  return `${value.toFixed(1)} s`;
}

export function count(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  return value.toLocaleString("en-GB");
}

/** 3725 -> "1 h 02 min"; the two largest units say enough. */
export function span(totalSeconds: number | null | undefined): string {
  if (totalSeconds === null || totalSeconds === undefined || !Number.isFinite(totalSeconds)) return DASH;
  const s = Math.max(0, Math.floor(totalSeconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86_400)} d ${two(Math.floor((s % 86_400) / 3600))} h`;
}

/** A place in a programme, or a way back from its edge: 65 -> "1:05", 3725 -> "1:02:05". */
export function offset(totalSeconds: number): string {
  if (!Number.isFinite(totalSeconds)) return DASH;
  const s = Math.max(0, Math.round(totalSeconds));
  const minutes = Math.floor(s / 60) % 60;
  if (s < 3600) return `${minutes}:${two(s % 60)}`;
  return `${Math.floor(s / 3600)}:${two(minutes)}:${two(s % 60)}`;
}

/** The viewer's own wall clock: hh:mm:ss. */
export function clock(at: Date | number): string {
  const date = typeof at === "number" ? new Date(at) : at;
  if (Number.isNaN(date.getTime())) return DASH;
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function significant(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
