// The skeleton player: what stands in the page is moved, as the page's JSON says.
"use strict";
(() => {
  const root = document.getElementById("player");
  const players = JSON.parse(document.getElementById("players").textContent);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const tell = (name, text) => { part(name).textContent = text; };

  const RATE = 15; // frames a second at speed 1
  const WIDTH = 480, HEIGHT = 320, MARGIN = 16; // of the picture, in its own units
  const FRONT = [Math.PI - 0.35, 0.12]; // turned and tilted: a little from the side and above
  const RADIUS = 4.5; // of a joint
  const STEP = 0.12; // radians a key press
  const NAMED = 3; // joints by activation: so many, the largest, have their names beside them

  let player, recording, bodies; // what is shown
  let [turned, tilted] = FRONT;
  let frame = 0, playing = false, last = 0, due = 0;
  const hidden = () => recording.masks[part("encoder").value] ?? { joints: [], frames: [] };

  // base64 of little-endian int16 (T, V, M, 3) → bodies, by frame null (all zero) or V points in m;
  // where each stands: about which point it turns, how far from the middle, at what size.
  function decode(one, V) {
    const bytes = Uint8Array.from(atob(one.xyz), (letter) => letter.charCodeAt(0));
    const numbers = new DataView(bytes.buffer), many = (n, make) => Array.from({ length: n }, make);
    const radius = Math.max(...one.places.map((place) => place.radius)) || 1;
    const more = one.apart ? one.bodies - 1 : 0;
    const size = Math.min(
      (HEIGHT / 2 - MARGIN) / radius, (WIDTH / 2 - MARGIN) / (radius * (0.8 * more + 1)));
    return many(one.bodies, (_, m) => {
      const at = (t, v, c) => numbers.getInt16(2 * (((t * V + v) * one.bodies + m) * 3 + c), true);
      const frames = many(one.frames, (_, t) => {
        const found = many(V, (_, v) => [0, 1, 2].map((c) => at(t, v, c) * one.scale));
        return found.flat().some(Boolean) ? found : null;
      });
      const shift = one.apart ? (m - more / 2) * 1.6 * radius * size : 0;
      return { ...one.places[m], frames, size, shift };
    });
  }

  // A point in metres → its place in the picture: turned about the vertical, tilted, from afar.
  function project(body, point) {
    const [x, y, z] = point.map((value, c) => value - body.middle[c]);
    const across = x * Math.cos(turned) + z * Math.sin(turned);
    const deep = z * Math.cos(turned) - x * Math.sin(turned);
    const up = y * Math.cos(tilted) - deep * Math.sin(tilted);
    const place = [WIDTH / 2 + body.shift + body.size * across, HEIGHT / 2 - body.size * up];
    return place.map((value) => value.toFixed(2));
  }

  // The joints that respond most, none a neighbour of another: their names would overlap.
  function largest(sizes) {
    const found = [];
    const near = (v) => player.bones.some(
      (bone) => bone.includes(v) && bone.some((w) => found.includes(w)));
    for (const v of [...sizes.keys()].sort((a, b) => sizes[b] - sizes[a])) {
      if (found.length < NAMED && !near(v)) found.push(v);
    }
    return found;
  }

  // Frames from 1 in words: "3, 5–9"
  function ranges(frames) {
    const ends = (step) => frames.filter((t) => !frames.includes(t + step)).sort((a, b) => a - b);
    const final = ends(1);
    return ends(-1).map((a, i) => (a === final[i] ? a + 1 : `${a + 1}–${final[i] + 1}`)).join(", ");
  }

  // What an encoder does not see: changes with a choice, not with the frame.
  function drawMask() {
    const encoder = part("encoder").value, { joints, frames } = hidden();
    const sizes = recording.activation?.[encoder];
    const sized = Boolean(sizes) && part("activation").checked;
    const names = sized ? largest(sizes) : [];
    for (const body of bodies) {
      for (const [v, joint] of body.joints.entries()) {
        joint.classList.toggle("hidden", joints.includes(v));
        joint.classList.toggle("named", names.includes(v));
        joint.firstChild.setAttribute("r", sized ? 2 + 9 * sizes[v] : RADIUS);
      }
      for (const [index, bone] of player.bones.entries()) {
        body.bones[index].classList.toggle("hidden", bone.some((v) => joints.includes(v)));
      }
    }
    // Somebody who appears moves more than anyone who acts: the scale is of whole frames in a row.
    const whole = recording.whole.filter((t) => recording.whole.includes(t + 1));
    const acted = whole.map((t) => recording.motion[t]);
    const top = Math.max(0, ...(acted.length ? acted : recording.motion)) || 1;
    const line = recording.motion.map((score, t) => [t, 88 - 80 * Math.min(1, score / top)]);
    part("motion").setAttribute("viewBox", `0 0 ${recording.frames - 1} 100`);
    part("curve").setAttribute("d", `M${line.join("L")}`);
    part("shade").setAttribute("d", frames.map((t) => `M${t},0V100`).join(""));
    part("strip").setAttribute("d", frames.map((t) => `M${t},92V100`).join(""));
    const marked = frames.length ? "; marked: hidden frames" : "";
    tell("height", `Motion score, scale to ${top.toPrecision(2)}${marked}`);
    tell("whose", encoder);
    tell("crossed", joints.map((v) => player.joints[v]).join(", ") || "none");
    tell("marked", ranges(frames) || "none");
    part("activations").style.visibility = sizes ? "" : "hidden";
    const said = { nothing: !encoder, something: encoder, sized, apart: recording.apart };
    for (const [name, shown] of Object.entries(said)) part(name).hidden = !shown;
    draw();
  }

  function drawBodies() {
    for (const body of bodies) {
      const found = body.frames[frame], [x, , z] = body.middle, r = body.radius * 0.6;
      const corners = [[-r, -r], [r, -r], [r, r], [-r, r]].map(
        ([a, b]) => project(body, [x + a, body.floor, z + b]));
      body.ground.setAttribute("d", `M${corners.join("L")}Z`);
      for (const drawn of [body.group, body.ground]) drawn.style.display = found ? "" : "none";
      const places = (found ?? []).map((point) => project(body, point));
      for (const [v, place] of places.entries()) {
        body.joints[v].setAttribute("transform", `translate(${place})`);
      }
      for (const [index, [v, parent]] of found ? player.bones.entries() : []) {
        body.bones[index].setAttribute("d", `M${places[v]}L${places[parent]}`);
      }
    }
  }

  function draw() {
    drawBodies();
    const place = `frame ${frame + 1} of ${recording.frames}`;
    const unseen = hidden().frames.includes(frame);
    const there = bodies.filter((body) => body.frames[frame]).length;
    part("picture").classList.toggle("dimmed", unseen);
    part("picture").setAttribute("aria-label", `${recording.name}, ${place}, bodies: ${there}`);
    tell("state", unseen ? `Frame ${frame + 1} is hidden from ${part("encoder").value}.`
      : recording.whole.length && !recording.whole.includes(frame)
        ? `In frame ${frame + 1} nobody is found, or not yet whole.` : "");
    tell("place", place);
    part("frame").value = frame;
    part("frame").setAttribute("aria-valuetext", place);
    for (const end of ["x1", "x2"]) part("playhead").setAttribute(end, frame);
    root.dataset.frame = frame;
  }

  function choose() {
    const chosen = part("recording").selectedOptions[0], [name, index] = chosen.value.split(" ");
    player = players[name];
    recording = player.recordings[index];
    bodies = decode(recording, player.joints.length);
    part("picture").replaceChildren();
    for (const [number, body] of bodies.entries()) {
      const made = document.getElementById(`body-${name}`).content.cloneNode(true).firstChild;
      [body.ground, body.group] = made.children;
      body.bones = body.group.querySelectorAll(".bone");
      body.joints = [...body.group.querySelectorAll(".joint")];
      body.group.dataset.body = number;
      part("picture").prepend(body.ground);
      part("picture").append(body.group);
    }
    frame = recording.opens[part("encoder").value] ?? recording.opens[""];
    part("frame").max = recording.frames - 1;
    const what = `${recording.name}, ${player.classes[recording.label]}`;
    tell("title", `${chosen.parentElement.label}: ${what}`);
    const models = [...part("predictions").children];
    for (const one of models) one.hidden = one.dataset.of !== chosen.value;
    part("predicted").hidden = models.every((one) => one.hidden);
    drawMask();
  }

  function go(to) {
    play(false);
    frame = Math.max(0, Math.min(recording.frames - 1, to));
    draw();
  }

  function tick(now) {
    if (!playing) return;
    due += (now - last) / 1000 * RATE * part("speed").value;
    last = now;
    if (due >= 1) {
      frame = (frame + Math.floor(due)) % recording.frames;
      draw();
    }
    due %= 1;
    requestAnimationFrame(tick);
  }

  function play(on) {
    [last, due] = [performance.now(), 0];
    if (on && !playing) requestAnimationFrame(tick);
    playing = on;
    tell("play", on ? "Pause" : "Play");
    root.dataset.playing = on;
  }

  function turn(across, up) {
    [turned, tilted] = [turned + across, Math.max(-1.4, Math.min(1.4, tilted + up))];
    drawBodies();
  }

  const TURNS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  root.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select")) return;
    const native = event.target.matches("button, input[type=checkbox]"); // which space presses
    if (event.shiftKey && TURNS[event.key]) turn(...TURNS[event.key].map((way) => way * STEP));
    else if (!event.shiftKey && event.key === " " && !native) play(!playing);
    else if (!event.shiftKey && STEPS[event.key]) go(frame + STEPS[event.key]);
    else return;
    event.preventDefault();
  });

  const on = (name, what, act) => part(name).addEventListener(what, act);
  on("bodies", "pointerdown", (event) => part("bodies").setPointerCapture(event.pointerId));
  on("bodies", "pointermove", (event) => {
    if (!part("bodies").hasPointerCapture(event.pointerId)) return;
    // A finger that goes up or down scrolls the page.
    turn(event.movementX * 0.01, event.pointerType === "touch" ? 0 : event.movementY * 0.01);
  });
  on("play", "click", () => play(!playing));
  on("front", "click", () => turn(FRONT[0] - turned, FRONT[1] - tilted));
  on("frame", "input", () => go(part("frame").valueAsNumber));
  on("recording", "change", choose);
  on("encoder", "change", drawMask);
  on("activation", "change", drawMask);
  addEventListener("beforeprint", () => play(false));
  play(false); // It never starts by itself.
  choose();
})();
