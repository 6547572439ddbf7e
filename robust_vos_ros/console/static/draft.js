// The marks of a prompt: points and a box on one frozen picture, with undo.

export class Draft {
  #history = [];
  points = []; // [x, y, 1 on the object or 0 not on it]
  box = null; // [x0, y0, x1, y1]
  preview = null; // objects of the last preview
  corner = null; // of a box that is made with keys

  /** frame: the frozen one; target: id of the object to correct, null for a new one. */
  constructor(frame, target = null) {
    this.frame = frame;
    this.target = target;
    this.startMs = performance.now();
  }

  get isEmpty() {
    return !this.points.length && !this.box;
  }

  addPoint(x, y, label) {
    this.#save();
    this.points = [...this.points, [x, y, label]];
  }

  setBox(x0, y0, x1, y1) {
    const { size } = this.frame.head;
    const clamp = (value, limit) => Math.min(Math.max(value, 0), limit);
    this.#save();
    this.box = [
      clamp(Math.min(x0, x1), size[0]), clamp(Math.min(y0, y1), size[1]),
      clamp(Math.max(x0, x1), size[0]), clamp(Math.max(y0, y1), size[1]),
    ];
  }

  /** Remove the last mark; returns false if there is none. */
  undo() {
    const last = this.#history.pop();
    if (!last) return false;
    [this.points, this.box] = last;
    this.preview = null;
    return true;
  }

  #save() {
    this.#history.push([this.points, this.box]);
    this.corner = null;
  }

  /** The fields of a prompt. */
  get prompt() {
    const round = (value) => Math.round(value * 10) / 10;
    return {
      stamp: this.frame.head.stamp,
      points: this.points.map(([x, y, label]) => [round(x), round(y), label]),
      box: this.box?.map(round) ?? null,
    };
  }
}
