// What the server tolerated, or advises, at a submission: told on the job's page, once.
import { toast } from "./dom.js";

const place = (id) => `notes of ${id}`;

export function keepNotes({ job, notes }) {
  try { if (notes?.length) sessionStorage.setItem(place(job.id), JSON.stringify(notes)); } catch { /* no room: not told */ }
}

export function tellNotes(id) {
  try {
    for (const note of JSON.parse(sessionStorage.getItem(place(id)) ?? "[]")) toast(note);
    sessionStorage.removeItem(place(id));
  } catch { /* nothing to tell */ }
}
