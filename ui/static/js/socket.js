// How does a WebSocket stay open through sleep, Wi-Fi and restarts?
import { SIGNED_OUT, lookWhetherSignedIn, signIn } from "./session.js";

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 8000;
const STALE = 45000; // the server pings every 20 s; a timer that slept this long means that the machine did

export class Socket {
  /** `address()` is asked anew for each connection: it holds the cursor. */
  constructor(address, { onText, onBytes, onState }) {
    this.address = address;
    this.handlers = { onText, onBytes, onState };
    this.pause = FIRST_PAUSE;
    this.closed = false;
    this.ticked = Date.now();
    this.wake = () => this.onWake();
    addEventListener("online", this.wake);
    addEventListener("pageshow", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.offline = () => this.drop();
    addEventListener("offline", this.offline);
    this.ticker = setInterval(() => this.tick(), 5000);
    this.open();
  }

  open() {
    if (this.closed) return;
    clearTimeout(this.timer);
    const url = new URL(this.address(), location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const ws = new WebSocket(url);
    ws.binaryType = "arraybuffer";
    this.ws = ws;
    ws.onopen = () => { if (ws === this.ws) { this.pause = FIRST_PAUSE; this.handlers.onState("on"); } };
    ws.onmessage = (event) => {
      if (ws !== this.ws) return;
      if (typeof event.data === "string") this.handlers.onText(JSON.parse(event.data), event.data.length);
      else this.handlers.onBytes?.(event.data);
    };
    let opened = false;
    ws.addEventListener("open", () => { opened = true; });
    ws.onclose = ({ code }) => {
      if (ws !== this.ws) return;
      if (code === SIGNED_OUT) { this.close(); signIn(); return; }
      if (!opened) lookWhetherSignedIn(); // why a handshake was refused is not told
      this.again();
    };
  }

  again() {
    if (this.closed) return;
    this.handlers.onState("away");
    this.timer = setTimeout(() => this.open(), this.pause * (0.7 + Math.random() * 0.6));
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
  }

  drop() {
    const ws = this.ws;
    this.ws = null;
    ws?.close();
    this.again();
  }

  onWake() {
    if (this.closed || document.visibilityState === "hidden" || navigator.onLine === false) return;
    if (this.ws && this.ws.readyState <= WebSocket.OPEN) return;
    this.pause = FIRST_PAUSE;
    this.open();
  }

  tick() {
    const slept = Date.now() - this.ticked > STALE;
    this.ticked = Date.now();
    if (slept && !this.closed && document.visibilityState === "visible") { this.pause = FIRST_PAUSE; this.drop(); }
  }

  send(value) {
    if (this.ws?.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(value));
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearInterval(this.ticker);
    removeEventListener("online", this.wake);
    removeEventListener("pageshow", this.wake);
    removeEventListener("offline", this.offline);
    document.removeEventListener("visibilitychange", this.wake);
    this.ws?.close();
  }
}
