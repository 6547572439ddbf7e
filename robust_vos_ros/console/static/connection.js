// The socket to the console: reconnects by itself, and matches answers to requests.

const PROTOCOL = 1;
const RETRY_MS = 700;
const OPEN_MS = 2500;
const SILENT_MS = 4000; // the console sends the state each half second
const TOKEN_KEY = 'robust_vos_token';

/** Take the token out of the address, where others could read it, and keep it for a reload. */
function takeToken() {
  const match = /(?:^#|&)token=([^&]*)/.exec(location.hash);
  if (match) {
    sessionStorage.setItem(TOKEN_KEY, decodeURIComponent(match[1]));
    history.replaceState(null, '', location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN_KEY) ?? '';
}

export class Connection extends EventTarget {
  #socket = null;
  #waiting = new Map();
  #nextId = 1;
  #heardMs = 0;
  #isRefused = false; // until another address is opened, or the page is loaded again
  #owed = 0; // acknowledgements of frames that were received while the page was hidden
  node = '';

  constructor() {
    super();
    window.addEventListener('hashchange', () => this.#connect());
    document.addEventListener('visibilitychange', () => this.#thank());
    setInterval(() => this.#watch(), 500);
    this.#connect();
  }

  /** Send a request; resolves to the answer, which may be a refusal. */
  request(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      return Promise.resolve({ ok: false, code: 'OFFLINE', message: 'The console is not reachable.' });
    }
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.send({ ...message, id });
    });
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Acknowledge a frame, so that the console sends the next one; not while the page is hidden. */
  thank() {
    this.#owed++;
    this.#thank();
  }

  #thank() {
    if (document.hidden) return;
    for (; this.#owed > 0; this.#owed--) this.send({ type: 'seen' });
  }

  #connect() {
    const token = takeToken();
    this.#isRefused = false;
    this.#drop();
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.#socket = socket;
    this.#heardMs = performance.now() + OPEN_MS - SILENT_MS;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this.#owed = 0;
      socket.send(JSON.stringify({ type: 'hello', protocol: PROTOCOL, token, node: this.node }));
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      this.#lose();
      if (!this.#isRefused) setTimeout(() => socket === this.#socket && this.#connect(), RETRY_MS);
    };
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#lose();
  }

  #lose() {
    for (const resolve of this.#waiting.values()) {
      resolve({ ok: false, code: 'OFFLINE', message: 'The connection ended before the answer arrived.' });
    }
    this.#waiting.clear();
    this.dispatchEvent(new CustomEvent('offline'));
  }

  #watch() {
    if (!this.#isRefused && performance.now() - this.#heardMs > SILENT_MS) this.#connect();
  }

  #receive(data) {
    this.#heardMs = performance.now();
    if (data instanceof ArrayBuffer) {
      const length = new DataView(data).getUint32(0);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      const picture = data.byteLength > 4 + length ? new Blob([new Uint8Array(data, 4 + length)]) : null;
      this.dispatchEvent(new CustomEvent('frame', { detail: { head, picture } }));
      return;
    }
    const note = JSON.parse(data);
    if (note.type === 'refused') this.#isRefused = note.code !== 'FULL';
    if (note.type === 'answer' && this.#waiting.has(note.id)) {
      this.#waiting.get(note.id)(note);
      this.#waiting.delete(note.id);
    } else {
      this.dispatchEvent(new CustomEvent(note.type, { detail: note }));
    }
  }
}
