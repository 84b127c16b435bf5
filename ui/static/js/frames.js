// What is in a frame of rows? 4 bytes length, a JSON header, rows joined by newlines.

const decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // invalid bytes become U+FFFD

/** {header, rows: [{n, text, stream, time}]}; `n` is the row's number. */
export function readFrame(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(decoder.decode(new Uint8Array(buffer, 4, length)));
  const count = header.numbers?.length ?? header.count;
  const texts = count ? decoder.decode(new Uint8Array(buffer, 4 + length)).split("\n") : [];
  const rows = [];
  let at = 0;
  for (const [stream, size, time] of header.spans) {
    for (const stop = at + size; at < stop && at < count; at += 1) {
      rows.push({ n: header.numbers ? header.numbers[at] : header.first + at, text: texts[at] ?? "", stream, time });
    }
  }
  for (; at < count; at += 1) rows.push({ n: header.numbers ? header.numbers[at] : header.first + at, text: texts[at] ?? "", stream: "o", time: 0 });
  return { header, rows };
}
