//! The test pattern: every picture carries its own number as sixteen black or white blocks, and below them the same
//! inverted; the sound is one unbroken tone. What is drawn survives being scaled to any rung.
//!
//! Reading it is here for whoever has pixels, in Node and in a page. What a run of readings means is verdict.mjs'.

export const FPS = 25;
export const TONE = 997;
const SIZE = { width: 640, height: 360 };
/** Of the picture's height, from the top. */
const BAND = 2 / 9;
const BITS = 16;

/** The picture numbers start over here: after 44 minutes. */
export const NUMBERS = 2 ** BITS;

/** The pattern, as a source for `primary`. */
export function source() {
  const { width, height } = SIZE;
  const band = height * BAND;
  // Drawn as 16x2 pixels and enlarged: an expression for each pixel of the picture would cost a core.
  const code = `color=c=black:s=${BITS}x2:r=${FPS},format=gray,geq=lum='255*mod(floor(N/pow(2,${BITS - 1}-X))+Y,2)'`;
  return (
    `lavfi:${code},scale=${width}:${band}:flags=neighbor,format=yuv420p[code];` +
    `testsrc2=s=${width}x${height - band}:r=${FPS},format=yuv420p[rest];[code][rest]vstack[out0];` +
    `sine=frequency=${TONE}:sample_rate=48000,volume=4,aformat=sample_fmts=fltp:channel_layouts=stereo[out1]`
  );
}

/** The rungs to encode it in: no two of a size, so that a size names its rung. */
export const RUNGS = ["640x360@600", "426x240@350", "320x180@200"];

/**
 * The number in a picture, `null` if there is none to be read. `luma` gives the brightness (0 to 255) at a place;
 * the middle of each block is looked at.
 */
export function number(width, height, luma) {
  const row = (height * BAND) / 2;
  let number = 0;
  for (let bit = 0; bit < BITS; bit++) {
    const x = Math.floor(((bit + 0.5) * width) / BITS);
    const set = luma(x, Math.floor(row * 0.5)) > 127;
    if (set === luma(x, Math.floor(row * 1.5)) > 127) return null;
    number = number * 2 + (set ? 1 : 0);
  }
  return number;
}

/**
 * A libav filter graph that says the size and the number of every picture: the first `showinfo` prints the size; the
 * second that of two pixels, which are the number's two octets, as a checksum from which they can be told.
 */
export function filter() {
  const bit = (index) => `${2 ** (7 - index)}*gt(p(8*X+${index},0),127)`;
  const octet = [...Array(8).keys()].map(bit).join("+");
  const code = `scale=${BITS}:2:flags=area,format=gray,geq=lum='if(lt(X,2),${octet},0)':i=nearest,crop=2:1:0:0`;
  return `showinfo,crop=iw:ih*${BAND}:0:0,${code},showinfo`;
}

/** What `showinfo` says of a picture: its size for the first, its number for the second. */
export function shown(line) {
  const found = /\bn: *\d+ .*pts_time:(-?[\d.]+) .* s:(\d+)x(\d+) .*plane_checksum:\[([0-9A-F]{8})/.exec(line);
  if (!found) return null;
  const [, time, width, height, checksum] = found;
  if (width !== "2" || height !== "1") return { time: Number(time), width: Number(width), height: Number(height) };
  // Adler-32 from 0 of two octets h, l: a = h + l, b = h + a.
  const [a, b] = [parseInt(checksum.slice(4), 16), parseInt(checksum.slice(0, 4), 16)];
  return { time: Number(time), number: (b - a) * 256 + (a - (b - a)) };
}

/** A libav filter graph that writes how loud whatever is not the tone is, for each frame of sound, to `file`. */
export function soundFilter(file) {
  const key = "lavfi.astats.Overall.Peak_level";
  return `bandreject=f=${TONE}:width_type=h:w=200,astats=metadata=1:reset=1,ametadata=mode=print:key=${key}:file=${file}`;
}
