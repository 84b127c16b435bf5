// How does a big .zip get to the server in parts, so that a cut costs one of them?
import { Refusal, ask, read } from "./api.js";

export const IN_PARTS = 16 * 2 ** 20; // smaller ones go in one request
const TRIES = 12; // of one part: some two minutes, in which a server starts again
const LONGEST_PAUSE = 15000;
const PATIENCE = 60000; // nothing moves for so long: the line is dead
const AGAIN = new Set([408, 429, 502, 503, 504]);
const ids = new WeakMap(); // file to id, for one that cannot be told from others by its marks

/** Sends what is not there yet and submits; `told(sent, total, cut)`, and `told(1, 0)` when all is sent. */
export async function uploadParts(spec, file, key, told, signal, like) {
  const id = idOf(file);
  const state = await ask(`/uploads/${id}`, { signal });
  const size = state.part_bytes;
  let number = state.parts;
  for (; number * size < file.size; number += 1) {
    const start = number * size;
    await sendPart(`/api/v1/uploads/${id}/${number}`, file.slice(start, start + size), (sent, cut) => told(start + sent, file.size, cut), signal);
  }
  told(1, 0);
  const patience = 120000 + file.size / 2000; // the slowest server checks 2 MB a second
  const answer = await ask(`/jobs${like}`, { method: "POST", body: { spec, upload: id, parts: number }, key, patience });
  forget(file);
  return answer;
}

async function sendPart(address, part, told, signal) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await putOnce(address, part, told, signal);
    } catch (error) {
      const again = error.problem?.code === "offline" || AGAIN.has(error.problem?.status);
      if (!again || attempt >= TRIES) throw error;
      told(0, true);
      await pause(Math.min(LONGEST_PAUSE, 300 * 2 ** attempt), signal);
    }
  }
}

function putOnce(address, part, told, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how far it is
    const stop = () => request.abort();
    const stalled = () => { reject(offline()); request.abort(); };
    let timer = setTimeout(stalled, PATIENCE);
    const done = (settle) => { clearTimeout(timer); signal.removeEventListener("abort", stop); settle(); };
    request.open("PUT", address);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = ({ loaded }) => { clearTimeout(timer); timer = setTimeout(stalled, PATIENCE); told(loaded, false); };
    request.onload = () => done(() => { try { resolve(read(request.status, request.responseText)); } catch (error) { reject(error); } });
    request.onerror = () => done(() => reject(offline()));
    request.onabort = () => done(() => reject(new DOMException("stopped", "AbortError")));
    if (signal.aborted) { done(() => reject(new DOMException("stopped", "AbortError"))); return; }
    signal.addEventListener("abort", stop);
    request.send(part);
  });
}

const offline = () => new Refusal({ code: "offline", title: "The connection was cut. Submit again: what was sent need not be sent again, and the same click never makes two jobs." });

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(new DOMException("stopped", "AbortError")); };
    const timer = setTimeout(() => { signal.removeEventListener("abort", stop); resolve(); }, milliseconds);
    signal.addEventListener("abort", stop);
  });
}

// ---- which upload a file is: the same one after a reload, too ----

const marksOf = (file) => `upload ${file.name} ${file.size} ${file.lastModified}`;

function idOf(file) {
  let id = ids.get(file);
  try { id ??= localStorage.getItem(marksOf(file)); } catch { /* a browser without a store forgets at the reload */ }
  id ??= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  ids.set(file, id);
  try { localStorage.setItem(marksOf(file), id); } catch { /* likewise */ }
  return id;
}

function forget(file) {
  ids.delete(file);
  try { localStorage.removeItem(marksOf(file)); } catch { /* likewise */ }
}
