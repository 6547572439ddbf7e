// The picture: draws frames, outlines and marks, and turns fingers, mouse and keys into marks.

const DRAG_PX = 8;
const LATE_DRAG_PX = 24; // after a long press: fingers do not hold still
const LONG_PRESS_MS = 450;
const DASHES = { TRACKED: [], UNCERTAIN: [9, 6], INITIALIZING: [2, 5] };
export const SIGNS = { INITIALIZING: '◌', TRACKED: '●', UNCERTAIN: '◐', OCCLUDED: '◇', LOST: '✕' };
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Stage extends EventTarget {
  #canvas;
  #context;
  #size = [640, 480];
  #scale = 1; // CSS pixels per pixel of the image
  #press = null;
  #cross = null; // of the keyboard, in pixels of the image
  #heightShare = 0.8; // of the window, where it is wide

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    new ResizeObserver(() => this.#fit()).observe(canvas.parentElement);
    window.addEventListener('resize', () => this.#fit());
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    canvas.addEventListener('pointerup', (event) => this.#up(event));
    canvas.addEventListener('pointercancel', () => this.#abort());
    canvas.addEventListener('keydown', (event) => this.#key(event));
    canvas.addEventListener('blur', () => this.#moveCross(null));
  }

  /** Draw a frame; draft: or null; chosen: id of an object, or null; prompts: saved for this image. */
  draw(frame, draft, chosen, prompts) {
    const [width, height] = frame.head.size;
    if (width !== this.#size[0] || height !== this.#size[1]) {
      this.#size = [width, height];
      this.#fit(false);
    }
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const zoom = this.#canvas.width / width;
    context.setTransform(zoom, 0, 0, zoom, 0, 0);
    context.drawImage(frame.bitmap, 0, 0, width, height);
    const unit = this.#canvas.width / (this.#scale * width); // image pixels are `zoom`, CSS ones `unit`
    const pen = unit / zoom;
    for (const item of frame.head.objects ?? []) {
      this.#outline(item, pen, DASHES[item.state] ?? [], item.id === chosen ? 4.5 : 3, item.color);
    }
    for (const item of frame.head.objects ?? []) this.#label(item, pen);
    for (const item of prompts) this.#drawMarks(item.box, item.points, pen);
    if (draft) this.#drawDraft(draft, pen);
    if (this.#cross) this.#drawCross(pen);
  }

  #outline(item, pen, dashes, width, color) {
    const context = this.#context;
    const path = new Path2D();
    for (const outline of item.outlines) {
      path.moveTo(outline[0] + 0.5, outline[1] + 0.5);
      for (let i = 2; i < outline.length; i += 2) path.lineTo(outline[i] + 0.5, outline[i + 1] + 0.5);
      path.closePath();
    }
    context.globalAlpha = 0.22;
    context.fillStyle = color;
    context.fill(path);
    context.globalAlpha = 1;
    context.lineJoin = 'round';
    this.#stroke(path, pen, dashes, width, color);
  }

  /** Draw a line that is visible on any background: dark below, coloured above. */
  #stroke(path, pen, dashes, width, color) {
    const context = this.#context;
    context.setLineDash([]);
    context.lineWidth = (width + 2.5) * pen;
    context.strokeStyle = 'rgb(0 0 0 / 0.6)';
    context.stroke(path);
    context.setLineDash(dashes.map((value) => value * pen));
    context.lineWidth = width * pen;
    context.strokeStyle = color;
    context.stroke(path);
    context.setLineDash([]);
  }

  #label(item, pen) {
    if (!item.outlines.length) return;
    const context = this.#context;
    const confidence = item.confidence === null ? '' : ` ${item.confidence.toFixed(2)}`;
    const text = `${SIGNS[item.state]} ${item.id.slice(0, 24)}${confidence}`;
    context.font = `600 ${14 * pen}px system-ui, "DejaVu Sans", sans-serif`;
    const width = context.measureText(text).width + 10 * pen;
    const x = Math.max(0, Math.min(item.box[0], this.#size[0] - width));
    const y = Math.max(0, item.box[1] - 24 * pen);
    context.fillStyle = 'rgb(0 0 0 / 0.72)';
    context.fillRect(x, y, width, 20 * pen);
    context.fillStyle = item.color;
    context.fillRect(x, y, 4 * pen, 20 * pen);
    context.fillStyle = '#fff';
    context.fillText(text, x + 7 * pen, y + 15 * pen);
  }

  #drawDraft(draft, pen) {
    for (const item of draft.preview ?? []) this.#outline(item, pen, [5, 4], 3, '#ffffff');
    this.#drawMarks(this.#press?.box ?? draft.box, draft.points, pen);
    if (draft.corner) this.#drawMark(...draft.corner, 'b', pen);
  }

  #drawMarks(box, points, pen) {
    if (box) {
      const path = new Path2D();
      path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      this.#stroke(path, pen, [], 2, '#ffffff');
    }
    for (const [x, y, label] of points) this.#drawMark(x, y, label ? '+' : '−', pen);
  }

  #drawMark(x, y, sign, pen) {
    const context = this.#context;
    context.beginPath();
    context.arc(x, y, 9 * pen, 0, 2 * Math.PI);
    context.fillStyle = { '+': '#0072b2', '−': '#d55e00', b: '#444444' }[sign];
    context.fill();
    context.lineWidth = 2 * pen;
    context.strokeStyle = '#ffffff';
    context.stroke();
    context.beginPath();
    context.moveTo(x - 5 * pen, y);
    context.lineTo(x + 5 * pen, y);
    if (sign === '+') {
      context.moveTo(x, y - 5 * pen);
      context.lineTo(x, y + 5 * pen);
    }
    context.stroke();
  }

  #drawCross(pen) {
    const [x, y] = this.#cross;
    const path = new Path2D();
    path.moveTo(x - 14 * pen, y);
    path.lineTo(x + 14 * pen, y);
    path.moveTo(x, y - 14 * pen);
    path.lineTo(x, y + 14 * pen);
    this.#stroke(path, pen, [], 2, '#ffffff');
  }

  /** Leave room for a time line below the picture, or not. */
  leaveRoom(isNeeded) {
    this.#heightShare = isNeeded ? 0.55 : 0.8;
    this.#fit();
  }

  #fit(announce = true) {
    const [width, height] = this.#size;
    const room = this.#canvas.parentElement.clientWidth;
    if (!room) return;
    const portrait = window.innerWidth < 900;
    const tall = Math.max(160, window.innerHeight * (portrait ? 0.55 : this.#heightShare));
    this.#scale = Math.min(room / width, tall / height);
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const wanted = [Math.round(width * this.#scale), Math.round(height * this.#scale)];
    this.#canvas.style.width = `${wanted[0]}px`;
    this.#canvas.style.height = `${wanted[1]}px`;
    this.#canvas.width = Math.round(wanted[0] * ratio);
    this.#canvas.height = Math.round(wanted[1] * ratio);
    if (announce) this.dispatchEvent(new CustomEvent('redraw'));
  }

  #place(event) {
    const frame = this.#canvas.getBoundingClientRect();
    const [width, height] = this.#size;
    const x = ((event.clientX - frame.left) / frame.width) * width;
    const y = ((event.clientY - frame.top) / frame.height) * height;
    return [Math.min(Math.max(x, 0), width - 0.1), Math.min(Math.max(y, 0), height - 0.1)];
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #down(event) {
    if (this.#press) return this.#abort(); // a second finger
    if (event.button !== 0 && event.button !== 2) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#tell('press');
    const start = this.#place(event);
    const press = { id: event.pointerId, start, at: [event.clientX, event.clientY], box: null };
    press.minus = event.button === 2;
    this.#press = press;
    if (!press.minus) {
      press.timer = setTimeout(() => {
        press.isLong = true;
        navigator.vibrate?.(30);
        this.#tell('point', [...start, 0]);
      }, LONG_PRESS_MS);
    }
  }

  #move(event) {
    const press = this.#press;
    if (!press || event.pointerId !== press.id || press.minus) return;
    const way = Math.hypot(event.clientX - press.at[0], event.clientY - press.at[1]);
    if (!press.box) {
      if (way < (press.isLong ? LATE_DRAG_PX : DRAG_PX)) return;
      clearTimeout(press.timer);
      if (press.isLong) this.#tell('undo'); // the press becomes a box
    }
    press.box = [...press.start, ...this.#place(event)];
    this.#tell('redraw');
  }

  #up(event) {
    const press = this.#press;
    if (!press || event.pointerId !== press.id) return;
    clearTimeout(press.timer);
    this.#press = null;
    if (press.box) this.#tell('box', press.box);
    else if (!press.isLong) this.#tell('point', [...press.start, press.minus ? 0 : 1]);
  }

  #abort() {
    clearTimeout(this.#press?.timer);
    this.#press = null;
    this.#tell('abort');
  }

  #moveCross(place) {
    this.#cross = place;
    this.#tell('redraw');
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [width, height] = this.#size;
    const [x, y] = this.#cross ?? [width / 2, height / 2];
    const step = STEPS[event.key];
    if (step) {
      const far = event.shiftKey ? 1 : Math.max(4, width / 64);
      const limit = (value, end) => Math.min(Math.max(value, 0), end - 1);
      this.#moveCross([limit(x + step[0] * far, width), limit(y + step[1] * far, height)]);
    } else if (event.key === '+' || event.key === '-') {
      this.#tell('press');
      this.#tell('point', [x, y, event.key === '+' ? 1 : 0]);
    } else if (event.key === 'b' || event.key === 'B') {
      this.#tell('press');
      this.#tell('corner', [x, y]);
    } else {
      return;
    }
    event.preventDefault();
  }
}
