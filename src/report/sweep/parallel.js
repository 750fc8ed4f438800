// Parallel coordinates: an axis for each parameter, the score last, a line for each trial; and the limits that are drawn
// on the axes or typed into the form below them.
//
// A limit of a range is { lo, hi, unset }, of a choice { keys, unset }; `unset` keeps the trials without a value.

const passes = (axis, limit, item) => {
  const at = axis.at(item);
  if (at === undefined) return limit.unset;
  return axis.kind === "choice" ? limit.keys.has(axis.choices[at].key) : at >= limit.lo && at <= limit.hi;
};

function limitText(axis, limit) {
  const parts = [];
  if (axis.kind === "choice") parts.push(...axis.choices.filter((choice) => limit.keys.has(choice.key)).map((choice) => choice.text));
  else if (limit.lo <= limit.hi) {
    const [below, above] = [limit.lo > axis.lo, limit.hi < axis.hi];
    parts.push(below && above ? `${number(limit.lo, 3)} to ${number(limit.hi, 3)}` : below ? `at least ${number(limit.lo, 3)}` : above ? `at most ${number(limit.hi, 3)}` : "any value");
  }
  if (limit.unset && axis.unset) parts.push(axis.unsetName);
  return `${axis.name}: ${parts.join(" or ") || "nothing"}`;
}

/** `limits`: Map axis → limit, which a drag changes before it calls `changed`. */
function parallel(place, { axes, all, shown, bin, limits, changed, on, describe }) {
  const [top, height] = [58, 430];
  const gap = axes.some((axis) => axis.unset) ? 34 : 0;
  const bottom = height - 18 - gap;
  const lost = bottom + gap;
  const scales = new Map(axes.map((axis) => [axis, axis.kind === "choice"
    ? Object.assign((index) => top + ((axis.ordered ? axis.choices.length - index - 0.5 : index + 0.5) * (bottom - top)) / axis.choices.length, { half: (bottom - top) / axis.choices.length / 2 })
    : scaleOf(axis, bottom, top, { count: 6 })]));
  const heightOf = (axis, item) => {
    const at = axis.at(item);
    return at === undefined ? lost : scales.get(axis)(at);
  };

  const heights = new Map(all.map((item) => [item, axes.map((axis) => heightOf(axis, item))]));
  return figure(place, {
    height,
    least: 76 + 96 * (axes.length - 1),
    on,
    draw(root, width, { pointer }) {
      const final = axes.at(-1);
      const left = 30;
      const right = Math.min(150, Math.max(56, ...[...(final.choices ?? []).map((choice) => choice.text), final.unset ? final.unsetName : ""].map((text) => widthOf(text) + 24)));
      const step = axes.length > 1 ? (width - left - right) / (axes.length - 1) : 0;
      const x = (index) => (axes.length > 1 ? left + index * step : width / 2);
      const visible = shown();
      const inside = new Set(visible);
      const line = (item) => chain(heights.get(item).map((y, index) => [x(index), y]));
      const outside = all.filter((item) => !inside.has(item));
      if (outside.length) root.append(s("path", { class: "faded", d: outside.map(line).join("") }));
      root.append(s("g", { class: crowd(visible.length) }, coloured(visible, bin, line, "stroke")));

      const wide = axes.some((axis, index) => widthOf(axis.name, 600) > (index && index < axes.length - 1 ? step : step / 2 + left) - 12);
      axes.forEach((axis, index) => root.append(side(axis, index, wide)));

      function side(axis, index, staggered) {
        const limit = limits.get(axis);
        const scale = scales.get(axis);
        const last = index === axes.length - 1 && axes.length > 1;
        const anchor = index === 0 && axes.length > 1 ? "start" : last ? "end" : "middle";
        const at = anchor === "start" ? 4 : last ? width - 4 : x(index);
        const room = staggered ? (anchor === "middle" ? 2 * step - 16 : step + left - 8) : anchor === "middle" ? step - 10 : step / 2 + left;
        const title = label(axis.name, Math.max(60, room), { class: `title ${limit ? "limited" : ""}`, x: p(at), y: staggered && index % 2 === 0 ? 18 : 36, "text-anchor": anchor }, 600);
        if (axis.path !== axis.name) title.append(s("title", {}, axis.path));
        const space = last ? right - 12 : axes.length > 1 ? step - 22 : width / 2 - 30;
        const tick = (y, text, italic) => [
          s("path", { class: "tick", d: `M${p(x(index))} ${p(y)}h5` }),
          label(text, space, { class: italic ? "unset" : undefined, x: p(x(index) + 8), y: p(y), dy: "0.32em" }),
        ];
        let labels;
        if (axis.kind === "choice") {
          const every = Math.max(1, Math.ceil(15 / (2 * scale.half)));
          labels = axis.choices.map((choice, place) => (place % every ? [] : tick(scale(place), choice.text)));
        } else labels = axis.empty ? [] : scale.ticks.map((value) => tick(scale(value), number(value)));
        return s("g", { class: "parallel-axis above" },
          title,
          s("path", { class: "axis", d: `M${p(x(index))} ${top}V${bottom}` }),
          labels,
          axis.unset && tick(lost, axis.unsetName, true),
          limit && brushed(axis, limit).map(([from, to]) => s("rect", { class: "brush", x: p(x(index) - 7), width: 14, y: p(from), height: p(Math.max(3, to - from)), rx: 3 })),
          s("rect", { class: "brushable", x: p(x(index) - 14), y: top - 14, width: 28, height: height - top + 14, "data-axis": axis.path, onpointerdown: (event) => drag(event, axis) }));
      }

      function brushed(axis, limit) {
        const scale = scales.get(axis);
        const spans = axis.kind === "choice"
          ? axis.choices.flatMap((choice, place) => (limit.keys.has(choice.key) ? [[scale(place) - Math.min(scale.half, 14), scale(place) + Math.min(scale.half, 14)]] : []))
          : limit.lo <= limit.hi ? [[scale(Math.min(scale.hi, limit.hi)), scale(Math.max(scale.lo, limit.lo))]] : [];
        if (limit.unset && axis.unset) spans.push([lost - 9, lost + 9]);
        return spans;
      }

      // The window hears the drag, because the chart draws its axes anew while it goes on.
      function drag(event, axis) {
        if (event.button) return;
        event.preventDefault();
        const start = pointer(event)[1];
        const span = brushed(axis, limits.get(axis) ?? { keys: new Set(), lo: 1, hi: 0 })[0];
        const edge = axis.kind !== "choice" && span && Math.abs(start - span[0]) < 7 ? 1 : axis.kind !== "choice" && span && Math.abs(start - span[1]) < 7 ? 0 : undefined;
        const whole = axis.kind !== "choice" && edge === undefined && span && start > span[0] && start < span[1];
        let moved = false;
        const move = (next) => {
          const now = pointer(next)[1];
          if (!moved && Math.abs(now - start) < 4) return;
          moved = true;
          const shift = Math.min(bottom - (span?.[1] ?? 0), Math.max(top - (span?.[0] ?? 0), now - start));
          const [from, to] = whole ? [span[0] + shift, span[1] + shift] : [edge === undefined ? start : span[edge], now];
          limits.set(axis, between(axis, Math.min(from, to), Math.max(from, to)));
          changed();
        };
        const stop = (next) => {
          removeEventListener("pointermove", move);
          removeEventListener("pointerup", stop);
          removeEventListener("pointercancel", stop);
          if (!moved && next.type === "pointerup") press(axis, start);
        };
        addEventListener("pointermove", move);
        addEventListener("pointerup", stop);
        addEventListener("pointercancel", stop);
      }

      function between(axis, from, to) {
        const scale = scales.get(axis);
        const unset = axis.unset && from <= lost + 12 && to >= lost - 12;
        if (axis.kind === "choice") {
          const middle = (place) => scale(place) >= from - scale.half && scale(place) <= to + scale.half;
          return { keys: new Set(axis.choices.filter((_, place) => middle(place)).map((choice) => choice.key)), unset };
        }
        return from > bottom ? { lo: Infinity, hi: -Infinity, unset } : { lo: scale.invert(Math.min(to, bottom)), hi: scale.invert(Math.max(from, top)), unset };
      }

      /** A press without a drag: a choice is switched, a limited range let go. */
      function press(axis, y) {
        const scale = scales.get(axis);
        if (axis.kind === "choice" && axis.choices.length) {
          const unset = axis.unset && y > bottom + gap / 2;
          const place = axis.choices.findIndex((_, index) => Math.abs(scale(index) - y) <= scale.half);
          const limit = limits.get(axis) ?? { keys: new Set(), unset: false };
          const keys = new Set(limit.keys);
          if (!unset && place >= 0 && !keys.delete(axis.choices[place].key)) keys.add(axis.choices[place].key);
          const next = { keys, unset: unset ? !limit.unset : limit.unset };
          if (keys.size || next.unset) limits.set(axis, next);
          else limits.delete(axis);
        } else limits.delete(axis);
        changed();
      }

            return {
        label: `${describe}; ${plural(visible.length, "line")}. The arrow keys go from trial to trial, the highest score first; Enter chooses one. “Limit by value” below filters without a pointer.`,
        order: () => [...visible].sort((a, b) => heightOf(final, a) - heightOf(final, b)),
        nearest(atX, atY) {
          const part = Math.min(axes.length - 2, Math.max(0, Math.floor((atX - left) / step)));
          if (axes.length < 2 || atX < left - 12 || atX > width - right + 12) return near(visible, (item) => Math.abs(heights.get(item)[0] - atY), 10);
          const share = (atX - x(part)) / step;
          return near(visible, (item) => Math.abs(heights.get(item)[part] * (1 - share) + heights.get(item)[part + 1] * share - atY), 10);
        },
        light(item, index = 0) {
          if (!inside.has(item)) return undefined;
          const places = heights.get(item).map((y, place) => [x(place), y]);
          const [endX, endY] = places.at(-1);
          const d = chain(places);
          return {
            anchor: places.at(-1),
            marks: [
              s("path", { class: "halo", d }), s("path", { class: `stroke ${bin(item)}`, d }),
              s("path", { class: `dot ${bin(item)}`, d: places.map((place) => ring(...place, 4)).join("") }),
              s("text", { x: p(endX - 8 - 30 * index), y: p(endY), dy: "-0.5em", "text-anchor": "end" }, `${item.number}`),
            ],
          };
        },
      };
    },
  });
}

/** The same limits as a form: from and to for a range, boxes for a choice. */
function limitForm(form, { axes, limits, changed }) {
  const renew = [];
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const axis of axes) {
    const choice = axis.kind === "choice";
    const box = (text, checked, change) => {
      const input = h("input", { type: "checkbox", onchange: change });
      input.checked = checked;
      return [input, h("label", {}, input, h("span", {}, text))];
    };
    const [unset, unsetLabel] = box(axis.unsetName, true, () => read());
    const boxes = choice ? axis.choices.map((one) => [one.key, ...box(one.text, true, () => read())]) : [];
    const ends = choice ? [] : ["from", "to"].map((end) => h("input", { type: "text", inputmode: "decimal", placeholder: end, "aria-label": `${axis.name} ${end}`, onchange: () => read() }));
    const typed = (input, otherwise) => {
      const value = input.value.trim() === "" ? otherwise : Number(input.value.replace("−", "-").replace(",", "."));
      const wrong = Number.isNaN(value);
      if (wrong) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
      return wrong ? otherwise : value;
    };
    const read = () => {
      const keeps = !axis.unset || unset.checked;
      const limit = choice
        ? { keys: new Set(boxes.filter(([, input]) => input.checked).map(([key]) => key)), unset: keeps }
        : { lo: typed(ends[0], -Infinity), hi: typed(ends[1], Infinity), unset: keeps };
      const free = keeps && (choice ? limit.keys.size === boxes.length : limit.lo === -Infinity && limit.hi === Infinity);
      if (free) limits.delete(axis);
      else limits.set(axis, limit);
      changed();
    };
    form.append(h("fieldset", {}, h("legend", { title: axis.path }, axis.name),
      choice ? h("div", { class: "many" }, boxes.map(([, , line]) => line)) : h("div", { class: "span" }, ends),
      axis.unset && unsetLabel));
    renew.push(() => {
      const limit = limits.get(axis);
      unset.checked = limit ? limit.unset : true;
      for (const [key, input] of boxes) input.checked = limit ? limit.keys.has(key) : true;
      ends.forEach((input, index) => {
        if (input === document.activeElement || (!limit && input.hasAttribute("aria-invalid"))) return;
        input.removeAttribute("aria-invalid");
        const end = limit?.[index ? "hi" : "lo"];
        input.value = Number.isFinite(end) ? plain(Number(end.toPrecision(4))) : "";
      });
    });
  }
  return () => renew.forEach((one) => one());
}
