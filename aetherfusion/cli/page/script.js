/* The page of `aetherfusion picker`: asks the server for images, keeps every step of a run, and
   shows the step at which the slider is. A message of the server is a line of JSON, then the bytes
   of images: those of a step are the noisy ones, and then as many estimates. */

const $ = (id) => document.getElementById(id);
const form = $("form"), step = $("step"), MOST = 20, SCALES = [0, 1, 2, 4, 8];
let model, run, next, socket, timer, running = false, following = true, retried = false;

const receive = {
  hello(message, images) {
    retried = false;
    if (run) {
      run.done = false;  // the server has forgotten it
      return say("Connected again.");
    }
    const listed = model.names.length > MOST && $("classes").appendChild(element("select"));
    if (listed) [listed.name, listed.ariaLabel] = ["label", "Class"];
    for (const [i, name] of model.names.entries()) {
      if (listed) listed.append(new Option(name, i));
      else $("classes").append(card(name, i));
    }
    form.label.value = Math.max(0, model.names.indexOf("horse"));
    for (const name of ["steps", "guidance_scale"]) form[name].value = model.use[name];
    form.oninput();
    begin({ name: "noise", seed: 0, captions: images.map(() => "") });
    run.frames = [{ t: 1, xt: images, x0: images }];
    show();
    say("The model is here. It draws an image of each class for the cards …");
  },
  samples(message, images) {
    $("classes").querySelectorAll("canvas").forEach((canvas, i) => paint(canvas, images[i]));
    if (images.length && !run.steps) say("This is noise. Pick a class and press Generate.");
  },
  queue({ before, runs }) {
    $("queue").textContent = runs > 1 ? `${runs - 1} waiting` : "";
    if (before && running) say(`${before} before you. Your images come when it is your turn.`);
  },
  frame({ step: k, t, first, part }, images) {
    if (!running) return;  // it was on its way when the run was stopped
    if (k + first === 0) {
      begin(next);
      say(`Making ${run.captions.length} images of ${run.name} …`);
    }
    run.frames[k] ??= { t, xt: [], x0: [] };
    for (let i = 0; i < images.length / 2; i++) {
      run.frames[k].xt[first + i] = images[i];
      run.frames[k].x0[first + i] = images[images.length / 2 + i];
    }
    step.max = run.frames.length - 1;
    $("progress").value = part;
    if (!following) return;
    step.value = k;
    show(first);
  },
  done() {
    setRunning(false);
    run.done = true;
    if (following) show();
    const seconds = ((performance.now() - run.started) / 1000).toFixed(1);
    say(`${run.captions.length} images of ${run.name}, seed ${run.seed}, in ${seconds} s.`);
  },
  refused({ text }) {
    setRunning(false);
    say(text, true);
  },
  nearest({ names, gaps }, images) {
    const parts = images.map((pixels, i) => {
      const part = tile("div", `${names[i]}, ${gaps[i].toFixed(2)} away`);
      paint(part.firstChild, pixels);
      return part;
    });
    $("nearest").querySelector("div").replaceChildren(...parts);
    $("nearest").hidden = !parts.length;
  },
  full: ({ text }) => lose(text),
};

function connect() {
  socket = new WebSocket(`${location.origin.replace("http", "ws")}/socket${location.search}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const bytes = new Uint8Array(data), end = bytes.indexOf(10);
    const message = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
    if (message.type === "hello") model = message;
    const length = model ? model.size ** 2 * model.channels : 1, images = [];
    for (let i = end + 1; i < bytes.length; i += length) images.push(bytes.subarray(i, i + length));
    receive[message.type](message, images);
  };
  socket.onclose = () => {
    setRunning(false);
    if (retried) return lose("The connection to the computer that makes the images is lost.");
    retried = true;
    say("The connection is lost. Trying again …", true);
    setTimeout(connect, 1000);
  };
}

function lose(text) {
  retried = true;
  $("lost").firstChild.textContent ||= text;
  $("lost").hidden = false;
  say("");
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
  form.seed.ariaInvalid = wrong && text.startsWith("Seed");
}

function setRunning(value) {
  if (!value && document.activeElement === $("stop")) form.querySelector(".main").focus();
  running = value;
  $("stop").disabled = !value;
  $("progress").value = 0;
}

/* What is asked for, and the line of Python that makes the same */

form.onsubmit = (event) => {
  event.preventDefault();
  if (!run) return;
  const use = Object.fromEntries(new FormData(form)), kind = event.submitter.value;
  const each = kind.includes("classes"), steer = kind.includes("scales");
  const few = steer ? 3 : MOST;  // rows, which are images of one class
  const n = each ? Math.min(model.names.length, MOST) : Math.min(use.num_samples, few);
  const labels = Array.from({ length: n }, (_, i) => (each ? i : Number(use.label)));
  const scales = steer ? SCALES : [Number(use.guidance_scale)];
  const one = model.names[use.label], name = each ? "all classes" : one;
  const captions = scales.flatMap((scale) => labels.map((i) => {
    return each ? model.names[i] + (steer ? `, ${scale}` : "") : steer ? `guidance ${scale}` : "";
  }));
  const label = each ? "label" : JSON.stringify(one);
  let code = `generate_images(model, ${each ? 1 : n}, labels=${label}, `;
  code += `guidance_scale=${steer ? "scale" : scales[0]}, `;
  code += `steps=${use.steps}, sampler="${use.sampler}", seed=${Number(use.seed)}`;
  code += steer ? `, guidance_interval=(0, 1)) for scale in (${SCALES.join(", ")})` : ")";
  if (each) code += ` for label in range(${n})`;
  if (each || steer) code = `[${code}]`;
  const { steps, seed, sampler } = use, started = performance.now();
  next = { name, captions, code, steps, seed, started, columns: steer ? n : 0 };
  play(false);
  setRunning(true);
  say(`Asking for ${captions.length} images of ${name} …`);
  ask({ labels, scales, steps, seed, sampler, same_noise: each });
};

function ask(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

/* Images */

function begin(about) {
  run = { ...about, frames: [], done: false };
  following = true;
  for (const [grid, what] of [["xt", "image"], ["x0", "estimate"]]) {
    $(grid).replaceChildren(...run.captions.map((caption, i) => {
      const part = tile("button", caption);
      part.ariaLabel = `${caption || run.name}, ${what} ${i + 1}: enlarge`;
      part.onclick = () => enlarge(i);
      return part;
    }));
  }
  step.max = step.value = 0;
  step.disabled = $("play").disabled = !run.steps;
  $("python").hidden = !run.code;
  $("code").value = run.code;
  fit();
}

function element(kind, text = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function tile(kind, caption) {
  const made = element(kind);
  made.append(element("canvas"), element("span", caption));
  return made;
}

function card(name, i) {
  const made = tile("label", name), choice = made.appendChild(element("input"));
  [choice.type, choice.name, choice.value] = ["radio", "label", i];
  return made;
}

function paint(canvas, pixels) {
  if (!pixels) return;
  const { size, channels } = model, image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[channels * i + (c % channels)];
    image.data[4 * i + 3] = 255;
  }
  canvas.width = canvas.height = size;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function show(first = 0) {
  const k = Number(step.value), frame = run.frames[k];
  for (const name of ["xt", "x0"]) {
    frame[name].forEach((pixels, i) => i < first || paint($(name).children[i].firstChild, pixels));
  }
  const words = k ? `Step ${k} of ${run.steps}, t = ${frame.t.toFixed(2)}` : "Pure noise, t = 1";
  $("when").textContent = step.ariaValueText = words;
}

function fit() {  // the largest images for which there is space, without captions if they are tiny
  const { clientWidth, clientHeight } = $("stage"), both = $("estimate").checked;
  const wide = clientWidth > 2 * clientHeight, n = run.captions.length, gap = 6, line = 20;
  const width = both && wide ? (clientWidth - line) / 2 : clientWidth;
  const height = (both && !wide ? clientHeight / 2 : clientHeight) - (both ? line : 0);
  const shapes = run.columns ? [[run.columns, "row"], [n / run.columns, "column"]]
    : run.captions.map((_, i) => [i + 1, "row"]);
  let best;
  for (const caption of run.captions[0] ? [line, 0] : [0]) {
    if (best?.side > 40) break;
    best = { side: 0 };
    for (const [columns, flow] of shapes) {
      const rows = Math.ceil(n / columns), high = (height + gap) / rows - gap - caption;
      const side = Math.min((width + gap) / columns - gap, high);
      if (side > best.side) best = { side, columns, rows, flow, caption };
    }
  }
  run.across = run.columns || best.columns;
  $("stage").style.flexDirection = wide ? "row" : "column";
  $("stage").classList.toggle("bare", !best.caption);
  for (const { style } of [$("xt"), $("x0")]) {
    style.gridAutoFlow = best.flow;
    style.gridTemplate = `repeat(${best.rows}, auto) / repeat(${best.columns}, ${best.side}px)`;
  }
}

function enlarge(i) {
  run.enlarged = `${run.captions[i] || run.name} · seed ${run.seed} · image ${i + 1}`;
  paint($("zoom").querySelector("canvas"), run.frames[step.value].xt[i]);
  $("title").textContent = run.enlarged;
  $("nearest").hidden = true;
  if (run.done && !running) ask({ index: i });
  $("zoom").showModal();
}

function save(canvases, columns, name) {  // as one PNG file
  const scale = Math.ceil(256 / model.size), side = scale * model.size, cell = side + scale;
  const sheet = element("canvas"), link = element("a"), context = sheet.getContext("2d");
  sheet.width = columns * cell - scale;
  sheet.height = Math.ceil(canvases.length / columns) * cell - scale;
  context.imageSmoothingEnabled = false;
  canvases.forEach((canvas, i) => {
    context.drawImage(canvas, (i % columns) * cell, Math.floor(i / columns) * cell, side, side);
  });
  link.href = sheet.toDataURL();
  link.download = `${name.replaceAll(/[^\p{L}\p{N}]+/gu, "-")}.png`;
  link.click();
}

function play(on) {
  clearInterval(timer);
  $("play").textContent = on ? "Pause" : "Play";
  timer = on && setInterval(() => {
    step.stepUp();
    show();
    if (step.value === step.max) play(false);
  }, 300);
}

/* Controls */

form.oninput = () => {
  for (const b of form.querySelectorAll("b")) b.textContent = b.nextElementSibling.value;
};
step.oninput = () => {
  following = false;
  play(false);
  show();
};
$("play").onclick = () => {
  following = false;
  if (step.value === step.max) step.value = 0;
  show();
  play($("play").textContent === "Play");
};
$("estimate").onchange = () => {
  $("x0").parentElement.hidden = !$("estimate").checked;
  fit();
};
$("stop").onclick = () => {
  socket.send("stop");
  setRunning(false);
  say(`Stopped after ${run.started === next.started ? step.max : 0} of ${next.steps} steps.`);
};
$("new-seed").onclick = () => (form.seed.value = Math.floor(Math.random() * 10000));
$("save").onclick = () => {
  save([...$("xt").querySelectorAll("canvas")], run.across, `${run.name} seed ${run.seed}`);
};
$("save-one").onclick = () => save([$("zoom").querySelector("canvas")], 1, run.enlarged);
$("copy").onclick = () => {  // navigator.clipboard works on this computer only
  $("code").select();
  document.execCommand("copy");
  say("Copied.");
};
$("reload").onclick = () => location.reload();
new ResizeObserver(() => run && fit()).observe($("stage"));
form.querySelector("details").open = innerWidth >= 1400 && innerHeight >= 900;
connect();
