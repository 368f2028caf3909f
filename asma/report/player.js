// The skeleton player. All it knows of joints, bodies, classes and encoders stands in the page's JSON.
"use strict";
(() => {
  const root = document.getElementById("player");
  const players = JSON.parse(document.getElementById("players").textContent);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);

  const RATE = 15; // frames a second at speed 1
  const WIDTH = 480, HEIGHT = 320, MARGIN = 16; // of the picture, in its own units
  const FRONT = { turn: Math.PI - 0.35, tilt: 0.12 }; // as the camera sees a body, a little from the side and above
  const RADIUS = 4.5; // of a joint
  const STEP = 0.12; // radians a key press

  const NAMED = 3; // joints by activation: so many, the largest, have their names beside them

  let player, recording, bodies, whole; // what is shown; whole: its frames in which somebody is
  let view = { ...FRONT };
  let frame = 0, playing = false, last = 0, due = 0;

  function svg(name, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    made.append(...children);
    return made;
  }

  function element(name, className, ...children) {
    const made = document.createElement(name);
    made.className = className;
    made.append(...children);
    return made;
  }

  function fill(select, words, values = words) {
    select.replaceChildren(...words.map((word, index) => new Option(word, values[index])));
  }

  // ---- a recording, read ------------------------------------------------------------------------------------------

  // base64 of little-endian int16 (T, V, M, 3) → the bodies that are ever there, by frame null or V points in metres
  function decode(one, V) {
    const bytes = Uint8Array.from(atob(one.xyz), (letter) => letter.charCodeAt(0));
    const numbers = new DataView(bytes.buffer);
    const found = Array.from({ length: one.bodies }, (_, m) => Array.from({ length: one.frames }, (_, t) => {
      const points = Array.from({ length: V }, (_, v) => [0, 1, 2].map(
        (c) => numbers.getInt16(2 * (((t * V + v) * one.bodies + m) * 3 + c), true) * one.scale));
      return points.some((point) => point.some(Boolean)) ? points : null; // all zero: not there
    }));
    return found.map((frames, number) => ({ number, frames })).filter((body) => body.frames.some(Boolean));
  }

  // Whether one joint of every body is always at the origin: each body was centred by itself, and they would overlap.
  function centredApart(found, V) {
    const points = (v) => found.flatMap((body) => body.frames.filter(Boolean).map((frame) => frame[v]));
    return found.length > 1 && Array.from({ length: V }, (_, v) => v).some((v) => !points(v).flat().some(Boolean));
  }

  // Middle of some points and how far the farthest is from it, so that nothing leaves the picture however it is turned.
  function extent(points) {
    const range = [0, 1, 2].map((c) => points.reduce(
      ([low, high], point) => [Math.min(low, point[c]), Math.max(high, point[c])], [Infinity, -Infinity]));
    const middle = range.map(([low, high]) => (low + high) / 2);
    const radius = Math.max(...points.map((point) => Math.hypot(...point.map((value, c) => value - middle[c]))));
    return { middle, radius, floor: range[1][0] };
  }

  // Where each body stands in the picture: about which point it turns, how far from the middle, at what size.
  function arrange(found, V) {
    const apart = centredApart(found, V);
    const all = (some) => some.flatMap((body) => body.frames.filter(Boolean).flat());
    const about = found.map((body) => extent(all(apart ? [body] : found)));
    const radius = Math.max(...about.map((one) => one.radius));
    const count = apart ? found.length : 1;
    const size = Math.min((HEIGHT / 2 - MARGIN) / radius, (WIDTH / 2 - MARGIN) / (radius * (0.8 * (count - 1) + 1)));
    return found.map((body, place) => ({
      ...body, ...about[place], size, shift: apart ? (place - (count - 1) / 2) * 1.6 * radius * size : 0,
    }));
  }

  // How tall somebody stands in each frame; where a recording has lost everybody for a moment, resampling leaves a body
  // shrunk between nobody and somebody: whole frames are those that show at least half of what most show.
  function wholeFrames(found) {
    const tall = Array.from({ length: recording.frames }, (_, t) => Math.max(0, ...found.map(
      ({ frames }) => (frames[t] ? extent(frames[t]).radius : 0))));
    const usual = [...tall].sort((a, b) => a - b).filter(Boolean);
    return tall.flatMap((height, t) => (height > 0 && height >= usual[usual.length >> 1] / 2 ? [t] : []));
  }

  // Where a recording opens: when half of its motion has passed, at the next frame that is whole and not hidden.
  function middle() {
    const moved = whole.reduce((sum, t) => sum + recording.motion[t], 0);
    let passed = 0;
    const half = whole.find((t) => (passed += recording.motion[t]) >= moved / 2) ?? 0;
    const seen = whole.filter((t) => !hidden().frames.includes(t));
    return (seen.length ? seen : whole).reduce(
      (best, t) => (Math.abs(t - half) < Math.abs(best - half) ? t : best), seen[0] ?? whole[0] ?? 0);
  }

  // A point in metres → its place in the picture: turned about the vertical, tilted, seen from far away.
  function project(body, point) {
    const [x, y, z] = point.map((value, c) => value - body.middle[c]);
    const across = x * Math.cos(view.turn) + z * Math.sin(view.turn);
    const deep = z * Math.cos(view.turn) - x * Math.sin(view.turn);
    const up = y * Math.cos(view.tilt) - deep * Math.sin(view.tilt);
    return [WIDTH / 2 + body.shift + body.size * across, HEIGHT / 2 - body.size * up].map((value) => value.toFixed(2));
  }

  // ---- the picture ------------------------------------------------------------------------------------------------

  function build() {
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    for (const body of bodies) {
      body.floorLine = svg("path", { class: "floor" });
      body.bones = player.bones.map(() => svg("line"));
      body.joints = player.joints.map((name) => svg("g", { class: "joint" },
        svg("circle", { r: RADIUS }), svg("path", { class: "cross", d: "M-3,-3L3,3M-3,3L3,-3" }),
        svg("title", {}, name), svg("text", { class: "name", x: 13, y: 4 }, name)));
      picture.append(body.floorLine);
      body.group = svg("g", { class: "body", "data-body": body.number }, ...body.bones, ...body.joints);
    }
    picture.append(...bodies.map((body) => body.group));
    part("bodies").replaceChildren(picture);
  }

  function drawBodies() {
    for (const body of bodies) {
      const points = body.frames[frame];
      const [x, , z] = body.middle, r = body.radius * 0.6;
      const corners = [[-r, -r], [r, -r], [r, r], [-r, r]].map(([a, b]) => project(body, [x + a, body.floor, z + b]));
      body.floorLine.setAttribute("d", `M${corners.join("L")}Z`);
      for (const drawn of [body.group, body.floorLine]) drawn.style.display = points ? "" : "none";
      if (!points) continue;
      const places = points.map((point) => project(body, point));
      body.joints.forEach((joint, v) => joint.setAttribute("transform", `translate(${places[v]})`));
      player.bones.forEach(([joint, parent], index) => {
        const line = body.bones[index];
        [["x1", joint, 0], ["y1", joint, 1], ["x2", parent, 0], ["y2", parent, 1]].forEach(
          ([name, v, c]) => line.setAttribute(name, places[v][c]));
      });
    }
  }

  // The joints that respond most, none a neighbour of another: their names would cover each other.
  function named(sizes) {
    const found = [];
    for (const v of sizes.map((_, v) => v).sort((a, b) => sizes[b] - sizes[a])) {
      const near = found.some((one) => player.bones.some((bone) => bone.includes(one) && bone.includes(v)));
      if (found.length < NAMED && !near) found.push(v);
    }
    return found;
  }

  const hidden = () => recording.masks[part("encoder").value] ?? { joints: [], frames: [] };

  // What an encoder does not see, and how large its joints are drawn: changes with the choice, not with the frame.
  function drawMask() {
    const encoder = part("encoder").value;
    const { joints, frames } = hidden();
    const sizes = recording.activation?.[encoder];
    part("activations").style.visibility = sizes ? "" : "hidden";
    const sized = sizes && part("activation").checked;
    const largest = sized ? named(sizes) : [];
    for (const body of bodies) {
      body.joints.forEach((joint, v) => {
        joint.classList.toggle("hidden", joints.includes(v));
        joint.classList.toggle("named", largest.includes(v));
        joint.firstChild.setAttribute("r", sized ? 2 + 9 * sizes[v] : RADIUS);
      });
      body.bones.forEach((line, index) => {
        line.classList.toggle("hidden", player.bones[index].some((v) => joints.includes(v)));
      });
    }
    // Somebody who appears moves more than anyone who acts: of the scale are frames from one whole one to the next.
    const acted = whole.filter((t) => whole.includes(t + 1)).map((t) => recording.motion[t]);
    const top = Math.max(0, ...(acted.length ? acted : recording.motion)) || 1;
    const T = recording.frames;
    part("motion").setAttribute("viewBox", `0 0 ${T - 1} 100`);
    part("motion").replaceChildren(
      ...frames.flatMap((t) => [["shade", 0, 100], ["strip", 92, 8]].map(([name, y, height]) =>
        svg("rect", { class: name, "data-frame": t, x: t - 0.5, width: 1, y, height }))),
      svg("path", { d: `M${recording.motion.map((score, t) => [t, 88 - 80 * Math.min(1, score / top)]).join("L")}` }),
      svg("line", { class: "playhead", y1: 0, y2: 100 }),
    );
    const marked = frames.length ? "; marked: hidden frames" : "";
    part("height").textContent = `Motion score, scale to ${top.toPrecision(2)}${marked}`;
    const crossed = joints.map((v) => player.joints[v]).join(", ") || "none";
    part("legend").replaceChildren(...(encoder === "" ? ["Nothing is hidden: choose an encoder to see its masks."] : [
      element("strong", "", encoder),
      ` does not see the joints drawn hollow and crossed in its joint-masked view (${crossed}), nor the marked frames `
        + `in its frame-masked view (${ranges(frames) || "none"}). Joints are drawn by lot for every batch; `
        + "this is one draw.",
      ...(sized ? [` Joints are as large as ${encoder} responds to them; the largest have their names.`] : []),
    ]));
    if (bodies.some((body) => body.shift)) {
      part("legend").append(" The bodies are centred each by itself, as the networks get them; here they stand apart.");
    }
  }

  // Frames from 1 in words: "3, 5–9"
  function ranges(frames) {
    const found = [];
    for (const t of [...frames].sort((a, b) => a - b)) {
      if (found.length && found.at(-1)[1] === t - 1) found.at(-1)[1] = t;
      else found.push([t, t]);
    }
    return found.map(([a, b]) => (a === b ? `${a + 1}` : `${a + 1}–${b + 1}`)).join(", ");
  }

  function draw() {
    drawBodies();
    const unseen = hidden().frames.includes(frame);
    const there = bodies.filter((body) => body.frames[frame]).length;
    const picture = part("bodies").firstChild;
    picture.classList.toggle("dimmed", unseen);
    picture.setAttribute("aria-label", `${recording.name}, frame ${frame + 1}, bodies: ${there}`);
    part("state").textContent = unseen ? `Frame ${frame + 1} is hidden from ${part("encoder").value}.`
      : whole.length && !whole.includes(frame) ? `In frame ${frame + 1} nobody is found, or not yet whole.` : "";
    part("place").textContent = `frame ${frame + 1} of ${recording.frames}`;
    part("frame").value = frame;
    part("frame").setAttribute("aria-valuetext", `frame ${frame + 1} of ${recording.frames}`);
    for (const end of ["x1", "x2"]) part("motion").querySelector(".playhead").setAttribute(end, frame);
    root.dataset.frame = frame;
  }

  function drawPredictions() {
    const cards = (recording.predictions ?? []).map(({ model, stream, top }) => {
      const items = top.map((one) => {
        const own = one.class === recording.label;
        const bar = element("span", "bar");
        bar.style.setProperty("--share", one.probability);
        const item = element("li", own ? "true" : "",
          element("span", "", (own ? "✓ " : "") + player.classes[one.class]),
          element("span", "share", `${(100 * one.probability).toFixed(1)} %`), bar);
        return item;
      });
      const known = top.some((one) => one.class === recording.label);
      return element("article", "", element("h4", "", `${model} · ${stream}`), element("ol", "", ...items),
        ...(known ? [] : [element("p", "hint", `✓ ${player.classes[recording.label]} is not among them.`)]));
    });
    part("predictions").replaceChildren(...cards);
    part("predicted").hidden = cards.length === 0;
  }

  // ---- choices ----------------------------------------------------------------------------------------------------

  function chooseBenchmark(name) {
    player = players[name];
    const told = (one) => `${one.name} · ${player.classes[one.label]}`;
    fill(part("recording"), player.recordings.map(told), player.recordings.map((_, index) => index));
    const chosen = part("encoder").options.length > 0, before = part("encoder").value;
    fill(part("encoder"), ["no encoder", ...player.encoders], ["", ...player.encoders]);
    // A mask is what the player is for: the first encoder's is shown from the start.
    part("encoder").value = player.encoders.includes(before) ? before : (!chosen && player.encoders[0]) || "";
    chooseRecording(0);
  }

  function chooseRecording(index) {
    recording = player.recordings[index];
    bodies = arrange(decode(recording, player.joints.length), player.joints.length);
    whole = wholeFrames(bodies);
    frame = middle();
    part("frame").max = recording.frames - 1;
    const of = player.benchmark + (player.demonstration ? " (demonstration)" : "");
    part("title").textContent = `${of}: ${recording.name}, ${player.classes[recording.label]}`;
    build();
    drawMask();
    draw();
    drawPredictions();
  }

  // ---- time and hands ---------------------------------------------------------------------------------------------

  function go(to) {
    frame = Math.max(0, Math.min(recording.frames - 1, to));
    draw();
  }

  function tick(now) {
    if (!playing) return;
    due += (now - last) / 1000 * RATE * part("speed").value;
    last = now;
    if (due >= 1) {
      frame = (frame + Math.floor(due)) % recording.frames;
      due %= 1;
      draw();
    }
    requestAnimationFrame(tick);
  }

  function play(on) {
    if (on && !playing) {
      last = performance.now();
      due = 0;
      requestAnimationFrame(tick);
    }
    playing = on;
    part("play").textContent = on ? "Pause" : "Play";
    root.dataset.playing = on;
  }

  function turn(across, up) {
    view = { turn: view.turn + across, tilt: Math.max(-1.4, Math.min(1.4, view.tilt + up)) };
    drawBodies();
  }

  const TURNS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
  const STEPS = {
    ArrowLeft: () => frame - 1, ArrowRight: () => frame + 1, Home: () => 0, End: () => recording.frames - 1,
  };

  root.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select")) return;
    const native = event.target.matches("button, input[type=checkbox]"); // which space presses
    if (event.shiftKey && TURNS[event.key]) turn(...TURNS[event.key]);
    else if (!event.shiftKey && event.key === " " && !native) play(!playing);
    else if (!event.shiftKey && STEPS[event.key]) {
      play(false);
      go(STEPS[event.key]());
    } else return;
    event.preventDefault();
  });

  let held = null; // where the pointer was last, while it drags
  part("bodies").addEventListener("pointerdown", (event) => {
    held = [event.clientX, event.clientY];
    part("bodies").setPointerCapture(event.pointerId);
  });
  part("bodies").addEventListener("pointermove", (event) => {
    if (!held) return;
    // A finger that goes up or down scrolls the page.
    const up = event.pointerType === "touch" ? 0 : event.clientY - held[1];
    turn((event.clientX - held[0]) * 0.01, up * 0.01);
    held = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) part("bodies").addEventListener(end, () => { held = null; });

  part("play").addEventListener("click", () => play(!playing));
  part("front").addEventListener("click", () => {
    view = { ...FRONT };
    drawBodies();
  });
  part("frame").addEventListener("input", () => {
    play(false);
    go(part("frame").valueAsNumber);
  });
  part("benchmark").addEventListener("change", () => chooseBenchmark(part("benchmark").value));
  part("recording").addEventListener("change", () => chooseRecording(Number(part("recording").value)));
  for (const name of ["encoder", "activation"]) {
    part(name).addEventListener("change", () => {
      drawMask();
      draw();
    });
  }
  addEventListener("beforeprint", () => play(false));

  // It never starts by itself.
  const names = Object.keys(players);
  fill(part("benchmark"), names.map((name) => name + (players[name].demonstration ? " (demonstration)" : "")), names);
  part("benchmarks").hidden = names.length < 2;
  play(false);
  chooseBenchmark(names[0]);
})();
