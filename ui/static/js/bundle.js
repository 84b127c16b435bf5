// What is in the .zip, before it is sent? And how does a folder become one?
import { NEVER, split } from "./left_out.js";
import { BlobReader, BlobWriter, ZipReader, ZipWriter, configure } from "../vendor/zip.mjs";

configure({ useWebWorkers: false });

const LISTED = 20000; // entries that are looked at
const JUNK = new Set(["__MACOSX", ".DS_Store"]);
const HEAVY = [
  [(path) => /(^|\/)\.git\//.test(path), "a .git folder"],
  [(path) => /(^|\/)(\.venv|venv|site-packages)\//.test(path), "a virtual environment"],
  [(path) => /\.(pt|pth|ckpt|safetensors|h5|hdf5|onnx|pkl|npz)$/i.test(path), "checkpoints or model files"],
  [(path) => /(^|\/)(__pycache__|node_modules)\//.test(path), "caches (__pycache__, node_modules)"],
];

/** {files: [{path, size}], total, python: [path], warnings: [text], stripped}; throws one sentence. */
export async function lookInto(file) {
  const reader = new ZipReader(new BlobReader(file));
  let entries;
  try {
    entries = [];
    for await (const entry of reader.getEntriesGenerator()) {
      entries.push(entry);
      if (entries.length >= LISTED) break;
    }
  } catch {
    throw new Error(`${file.name} is not a readable .zip file.`);
  } finally {
    await reader.close().catch(() => {});
  }
  if (entries.some((entry) => entry.encrypted)) throw new Error(`${file.name} is encrypted; make it without a password.`);
  const files = entries.filter((entry) => !entry.directory).map((entry) => ({ path: entry.filename, size: entry.uncompressedSize })).filter(({ path }) => !path.split("/").some((part) => JUNK.has(part)));
  if (files.length === 0) throw new Error(`${file.name} has no files in it.`);
  return describe(files, entries.length >= LISTED);
}

function describe(files, cut) {
  const top = files[0].path.split("/")[0];
  const stripped = files.every(({ path }) => path.startsWith(`${top}/`)) ? top : null;
  const shown = stripped ? files.map(({ path, size }) => ({ path: path.slice(top.length + 1), size })) : files;
  const warnings = [];
  for (const [is, what] of HEAVY) {
    const hits = files.filter(({ path }) => is(path));
    if (hits.length) warnings.push({ what, files: hits.length, size: sum(hits) });
  }
  const python = shown.map(({ path }) => path).filter((path) => path.endsWith(".py")).sort((a, b) => depth(a) - depth(b) || a.localeCompare(b));
  return { files: shown.sort((a, b) => b.size - a.size), total: sum(files), python, warnings, stripped, cut };
}

const depth = (path) => path.split("/").length;
const sum = (files) => files.reduce((total, { size }) => total + size, 0);

/** [{path, file}] to a .zip Blob; `leftOut` maps what nobody wants sent to the reason. */
export async function zipFolder(found, onProgress, signal) {
  const { kept, leftOut } = await split(found);
  if (kept.length === 0) throw new Error("The folder has no files in it that are to be sent.");
  const total = kept.reduce((bytes, { file }) => bytes + file.size, 0);
  const writer = new ZipWriter(new BlobWriter("application/zip"), { level: 1, signal });
  let done = 0;
  for (const { path, file } of kept) {
    await writer.add(path, new BlobReader(file), { lastModDate: new Date(file.lastModified) });
    done += file.size;
    onProgress(done, total);
  }
  return { blob: await writer.close(), leftOut };
}

/** All files of what was dropped: [{path, file}] of a folder, or one .zip. */
export async function readDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 1 && entries[0].isFile) return { zip: transfer.files[0] };
  const found = [];
  for (const entry of entries) await walk(entry, entries.length === 1 ? "" : `${entry.name}`, found);
  const name = entries.length === 1 ? entries[0].name : "files";
  return { folder: found, name };
}

async function walk(entry, path, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ path: path || entry.name, file });
    return;
  }
  if (NEVER.has(entry.name)) { found.push({ path: `${path}/${entry.name}/`, file: new File([], entry.name) }); return; }
  const reader = entry.createReader();
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return;
    for (const child of batch) await walk(child, path ? `${path}/${child.name}` : child.name, found);
  }
}
