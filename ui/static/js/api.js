// How does the page ask the server? Every failure is an Error with one sentence.
import { signIn } from "./session.js";

export class Refusal extends Error {
  constructor(problem) {
    const text = problem.detail || problem.title || "The server refused.";
    super(text[0].toUpperCase() + text.slice(1));
    this.problem = problem;
  }
}

const PATIENCE = 30000;

export async function ask(path, { method = "GET", body, key, signal, patience: longest } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const patience = AbortSignal.timeout(longest ?? (method === "GET" ? PATIENCE : PATIENCE * 4));
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: signal ? AbortSignal.any([signal, patience]) : patience });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal({ code: "offline", title: "The server does not answer. Is it running, is the network there?" });
  }
  return read(answer.status, await answer.text());
}

/** An answer that is no JSON, as an ArrayBuffer. */
export async function askBytes(path, signal) {
  const patience = AbortSignal.timeout(PATIENCE);
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, { signal: signal ? AbortSignal.any([signal, patience]) : patience });
    if (answer.ok) return await answer.arrayBuffer();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal({ code: "offline", title: "The server does not answer. Is it running, is the network there?" });
  }
  return read(answer.status, await answer.text());
}

/** What an answer says; a refusal is thrown. */
export function read(status, text) {
  if (status === 204) return null;
  let value;
  try { value = JSON.parse(text); } catch { value = { title: `The server answered ${status}.` }; }
  if (value.code === "not_signed_in" && document.body.dataset.page !== "sign-in") signIn();
  if (status >= 400) throw new Refusal(value);
  return value;
}

/** Sends the form with progress, which fetch does not tell. */
export function upload(spec, file, name, key, onProgress, signal, like = "") {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("spec", new Blob([JSON.stringify(spec)], { type: "application/json" }));
    form.append("bundle", file, name);
    const request = new XMLHttpRequest();
    request.open("POST", `/api/v1/jobs${like}`);
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.upload.onload = () => onProgress(1, 0);
    request.onload = () => { try { resolve(read(request.status, request.responseText)); } catch (error) { reject(error); } };
    request.onerror = () => reject(new Refusal({ code: "offline", title: "The connection was cut. Submit again: the same click never makes two jobs." }));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** One key per click: repeated sends of it are one job. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
