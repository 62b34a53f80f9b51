
/* SPDX-FileCopyrightText: the dirsync.authentik contributors
   SPDX-License-Identifier: GPL-3.0-or-later */
(function () {
  "use strict";
  var PAGE = 100;             // rows at a time: a browser draws these at once, whatever the number of all
  var PRINTED = 2000;         // rows on paper
  var VALUES = 4;             // differences of an object that are shown without asking
  var MEMBERS = 200;          // members that are named
  var TONES = { failed: "bad", unconfirmed: "bad", deleted: "bad", suspended: "warn", created: "good", updated: "info",
    unlinked: "calm", orphan: "warn", remark: "calm" };
  var STATES = { in_sync: "In sync", drift: "There are differences", attention: "Nothing to change, but something to check",
    stopped: "Stopped by a safety limit", incomplete: "Not compared" };
  var TILES = [["created", "would be created"], ["updated", "would be updated"], ["suspended", "would be suspended"],
    ["deleted", "would be deleted"], ["unlinked", "would be disconnected"], ["failed", "cannot be synced"],
    ["orphan", "no longer synced"]];

  var data = JSON.parse(document.getElementById("data").textContent);
  var rows = data.objects;
  var counts = data.counts || {};
  var state = { text: "", kind: "", outcome: "", sort: "o", down: false, page: 0 };
  var found = rows;
  var names = {};
  var rank = {};
  data.outcomes.forEach(function (pair, index) { names[pair[0]] = pair[1]; rank[pair[0]] = index; });

  function at(id) { return document.getElementById(id); }

  // Texts of the directories: never markup. Characters that nobody sees, or that turn the text around them, are named.
  function plain(value) {
    return String(value).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
      function (char) { return "\u27e8U+" + ("000" + char.charCodeAt(0).toString(16).toUpperCase()).slice(-4) + "\u27e9"; });
  }

  function make(tag, className, text) {
    var node = document.createElement(tag);
    if (className) { node.className = className; }
    if (text !== undefined && text !== null) { node.textContent = text; }
    return node;
  }

  // A text of a directory in a frame of its own, so that its direction of writing ends with it.
  function theirs(tag, className, value) {
    var node = make(tag, className, plain(value));
    node.dir = "auto";
    return node;
  }

  function number(value) { return Number(value || 0).toLocaleString("en"); }

  function counted(what) {
    return Object.keys(counts).reduce(function (sum, kind) { return sum + (counts[kind][what] || 0); }, 0);
  }

  function tile(outcome) {
    if (outcome === "failed") { return counted("failed") + counted("unconfirmed"); }
    if (outcome === "orphan") { return rows.filter(function (row) { return row.o === "orphan"; }).length; }
    return counted(outcome);
  }

  function when(text) {
    var date = new Date(text);
    if (!text || isNaN(date)) { return null; }
    return new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short", timeZone: "UTC" }).format(date) + " UTC";
  }

  // Head

  function head() {
    at("title").textContent = plain(data.title);
    at("verdict").dataset.state = data.state;
    at("state").textContent = STATES[data.state] || data.state;
    at("headline").textContent = plain(data.headline);
    if (data.msg && data.code !== "objects") {
      at("reason").textContent = plain(data.msg);
      at("reason").hidden = false;
    }
    var provider = data.provider.name || (data.provider.pk !== null ? "number " + data.provider.pk : null);
    var parts = [when(data.ended || data.started), provider && "provider " + provider,
      data.authentik && "authentik at " + data.authentik, data.server_version && "version " + data.server_version];
    at("meta").textContent = plain(parts.filter(Boolean).join("  \u00b7  "));
  }

  // Numbers

  function tiles() {
    var total = counted("total") - counted("out_of_scope");
    var same = counted("unchanged");
    var box = at("tiles");
    TILES.forEach(function (pair) {
      var value = tile(pair[0]);
      if (!value && (pair[0] === "unlinked" || pair[0] === "orphan")) { return; }
      var node = make("button", "tile tone-" + TONES[pair[0]] + (value ? "" : " zero"));
      node.type = "button";
      node.dataset.outcome = pair[0];
      node.disabled = !value;
      node.setAttribute("aria-pressed", "false");
      node.append(make("span", "number", number(value)), make("span", "what", pair[1]));
      node.addEventListener("click", function () {
        state.outcome = state.outcome === pair[0] ? "" : pair[0];
        at("outcome").value = state.outcome;
        apply();
      });
      box.append(node);
    });
    var calm = make("div", "tile tone-good" + (same ? "" : " zero"));
    calm.id = "in-sync";
    calm.append(make("span", "number", number(same)), make("span", "what", "in sync, of " + number(total) + " compared"));
    box.append(calm);
    share(same);
  }

  function share(same) {
    var parts = [["unchanged", same, "good"]].concat(TILES.map(function (pair) {
      return [pair[0], tile(pair[0]), pair[0] === "created" ? "info" : TONES[pair[0]]];
    })).filter(function (part) { return part[1]; });
    var sum = parts.reduce(function (all, part) { return all + part[1]; }, 0);
    if (!sum) { return; }
    var box = at("share");
    box.hidden = false;
    box.setAttribute("aria-hidden", "true");
    at("share-text").hidden = false;
    // Never rounded up to all of it.
    at("share-text").textContent = Math.floor(1000 * same / sum) / 10 + " % is in sync.";
    parts.forEach(function (part) {
      var node = make("span", "part tone-" + part[2]);
      node.style.flexGrow = part[1];
      node.title = number(part[1]) + " " + (part[0] === "unchanged" ? "in sync" : names[part[0]]);
      box.append(node);
    });
  }

  var MEASURES = [["total", "listed by authentik"], ["out_of_scope", "excluded by the provider"], ["unchanged", "in sync"],
    ["created", "would be created"], ["updated", "would be updated"], ["suspended", "would be suspended"],
    ["deleted", "would be deleted"], ["unlinked", "would be disconnected"], ["failed", "cannot be synced"],
    ["unconfirmed", "could not be confirmed"], ["orphans", "connected, and no longer synced"],
    ["members_added", "members that would be added to groups"], ["members_removed", "members that would be removed from groups"],
    ["members_skipped", "members skipped, without an account"]];
  var ALWAYS = ["total", "unchanged", "created", "updated", "suspended", "deleted"];

  function numbers() {
    var kinds = Object.keys(counts);
    at("numbers").hidden = !kinds.length;
    grid(at("numbers"), [""].concat(kinds.map(function (kind) { return kind === "users" ? "People" : "Groups"; })),
      MEASURES.filter(function (pair) { return ALWAYS.indexOf(pair[0]) >= 0 || counted(pair[0]); }).map(function (pair) {
        return [pair[1]].concat(kinds.map(function (kind) {
          return counts[kind][pair[0]] === undefined ? "" : number(counts[kind][pair[0]]);
        }));
      }), true);
  }

  // A table of texts; the first cell of each row is its heading.
  function grid(table, heads, lines, ours) {
    var top = make("tr");
    heads.forEach(function (text) {
      var cell = make(text ? "th" : "td", "", text);
      if (text) { cell.scope = "col"; }
      top.append(cell);
    });
    var body = make("tbody");
    lines.forEach(function (line) {
      var row = make("tr");
      line.forEach(function (value, index) {
        var cell = ours ? make(index ? "td" : "th", value === "0" ? "zero" : "", value)
          : theirs(index ? "td" : "th", value && value.bad ? "exceeded" : "", value && value.bad ? value.bad : value);
        if (!index) { cell.scope = "row"; }
        row.append(cell);
      });
      body.append(row);
    });
    var thead = make("thead");
    thead.append(top);
    table.replaceChildren(thead, body);
  }

  function limits() {
    var all = data.safety_limits || [];
    if (!all.length) { return; }
    at("limits-section").hidden = false;
    var exceeded = all.filter(function (limit) { return limit.exceeded; });
    at("limits-text").textContent = exceeded.length
      ? number(exceeded.length) + (exceeded.length === 1 ? " safety limit is exceeded. " : " safety limits are exceeded. ") +
        (exceeded.every(function (limit) { return limit.overridden; }) ? "force is set, so a sync would continue nevertheless."
          : exceeded.every(function (limit) { return limit.group; }) ? "A sync leaves these groups alone."
          : "A sync stops before the first write, unless the limit is raised or force is set for one run.")
      : "The plan is within all safety limits; a sync would continue.";
    at("limits-details").open = exceeded.length > 0;
    var order = all.slice().sort(function (one, other) { return (other.exceeded ? 1 : 0) - (one.exceeded ? 1 : 0); });
    grid(at("limits"), ["What", "Planned", "Of", "Allowed", "Safety limit", "State"], order.map(function (limit) {
      return [limit.what, number(limit.planned), number(limit.of), number(limit.allowed), limit.option + ": " + limit.limit,
        limit.exceeded ? { bad: limit.overridden ? "exceeded, overridden by force" : "exceeded" } : "kept"];
    }));
  }

  // The list

  function filters() {
    var select = at("outcome");
    var first = make("option", "", "anything");
    first.value = "";
    select.append(first);
    data.outcomes.forEach(function (pair) {
      var count = rows.filter(function (row) { return row.o === pair[0]; }).length;
      if (!count) { return; }
      var option = make("option", "", pair[1] + " (" + number(count) + ")");
      option.value = pair[0];
      select.append(option);
    });
    var timer = null;
    at("text").addEventListener("input", function () {
      clearTimeout(timer);
      timer = setTimeout(function () { state.text = at("text").value; apply(); }, 120);
    });
    at("kind").addEventListener("change", function () { state.kind = at("kind").value; apply(); });
    select.addEventListener("change", function () { state.outcome = select.value; apply(); });
    at("sort").addEventListener("change", function () { state.sort = at("sort").value; state.down = false; apply(); });
    at("filters").addEventListener("submit", function (event) { event.preventDefault(); });
    at("filters").addEventListener("reset", function () {
      clearTimeout(timer);
      Object.assign(state, { text: "", kind: "", outcome: "", sort: "o", down: false });
      // The controls have their new values only after this event.
      setTimeout(apply, 0);
    });
    document.querySelectorAll("[data-sort]").forEach(function (button) {
      button.addEventListener("click", function () {
        state.down = state.sort === button.dataset.sort && !state.down;
        state.sort = button.dataset.sort;
        at("sort").value = state.sort;
        apply();
      });
    });
    [["first", function () { return 0; }], ["back", function () { return state.page - 1; }],
      ["next", function () { return state.page + 1; }], ["last", function () { return pages() - 1; }]].forEach(function (pair) {
      at(pair[0]).addEventListener("click", function () {
        state.page = pair[1]();
        draw();
        at("list").scrollIntoView();
      });
    });
  }

  function pages() { return Math.max(1, Math.ceil(found.length / PAGE)); }

  function searched(row) {
    if (row.s === undefined) {
      row.s = [row.n, row.a, row.p, row.w, row.r && row.r.join(" "), row.c.map(function (change) {
        return [change.l].concat(change.add || [], change.rem || [], said(change.b), said(change.a)).join(" ");
      }).join(" ")].join(" ").toLowerCase();
    }
    return row.s;
  }

  var collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function compare(one, other) {
    var order = state.sort === "o" ? rank[one.o] - rank[other.o] : state.sort === "k" ? collator.compare(other.k, one.k) : 0;
    order = order || collator.compare(one.n || one.a || "", other.n || other.a || "");
    return state.down ? -order : order;
  }

  function apply() {
    var words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter(function (row) {
      return (!state.kind || row.k === state.kind) &&
        (!state.outcome || row.o === state.outcome || (state.outcome === "failed" && row.o === "unconfirmed")) &&
        words.every(function (word) { return searched(row).indexOf(word) >= 0; });
    }).sort(compare);
    state.page = 0;
    draw();
  }

  function draw() {
    var from = state.page * PAGE;
    show(found.slice(from, from + PAGE));
    var upTo = Math.min(found.length, from + PAGE);
    at("shown").textContent = !found.length ? "" : (found.length > PAGE ? "Rows " + number(from + 1) + " to " + number(upTo) + " of " : "") +
      number(found.length) + (found.length === 1 ? " row" : " rows") +
      (found.length < rows.length ? ", filtered from " + number(rows.length) : "");
    at("where").textContent = "Page " + number(state.page + 1) + " of " + number(pages());
    at("pager").hidden = pages() < 2;
    at("first").disabled = at("back").disabled = state.page === 0;
    at("next").disabled = at("last").disabled = state.page >= pages() - 1;
    at("none").hidden = found.length > 0;
    at("objects").hidden = !found.length;
    at("none").textContent = rows.length ? "No object matches the filters." : data.complete ? "Nothing would change." :
      "The comparison did not finish: there is nothing to list.";
    document.querySelectorAll("[data-sort]").forEach(function (button) {
      var mine = button.dataset.sort === state.sort;
      button.parentNode.setAttribute("aria-sort", mine ? (state.down ? "descending" : "ascending") : "none");
    });
    document.querySelectorAll("button.tile").forEach(function (node) {
      node.setAttribute("aria-pressed", String(node.dataset.outcome === state.outcome));
    });
  }

  function show(some) { at("rows").replaceChildren.apply(at("rows"), some.map(line)); }

  function line(row) {
    var node = make("tr");
    node.setAttribute("role", "row");
    var cells = [make("td", "kind", row.k === "user" ? "Person" : "Group"), make("td"), make("td"), make("td")];
    cells.forEach(function (cell) { cell.setAttribute("role", "cell"); });
    cells[1].append(theirs("span", "name", row.n || row.a || "number " + row.p));
    if (row.a && row.a !== row.n) { cells[1].append(theirs("span", "address", row.a)); }
    var split = row.w.indexOf(": ");
    cells[2].append(make("span", "badge tone-" + (TONES[row.o] || "calm"), split < 0 ? row.w : row.w.slice(0, split)));
    if (split >= 0) { cells[2].append(theirs("span", "why", row.w.slice(split + 2))); }
    (row.r || []).forEach(function (text) { cells[2].append(theirs("p", "remark", text)); });
    if (row.c.length) { cells[3].append.apply(cells[3], differences(row)); }
    node.append.apply(node, cells);
    return node;
  }

  function differences(row) {
    var items = row.c.map(function (change) { return difference(change, row.o === "created"); });
    var list = make("ul", "list");
    list.append.apply(list, items.slice(0, items.length > VALUES + 1 ? VALUES : items.length));
    if (items.length <= VALUES + 1) { return [list]; }
    var rest = make("details");
    var more = make("ul", "list");
    more.append.apply(more, items.slice(VALUES));
    rest.append(make("summary", "", number(items.length - VALUES) + " more"), more);
    return [list, rest];
  }

  function difference(change, created) {
    var node = make("li");
    node.append(theirs("span", "label", change.l), ": ");
    if (change.add) {
      people(node, "ins", "added", change.add);
      if (change.add.length && change.rem.length) { node.append("; "); }
      people(node, "del", "removed", change.rem);
      return node;
    }
    if (!created || said(change.b) !== "") {
      node.append(make("span", "said", "now "), theirs("del", "", shown(change.b)), " \u2192 ", make("span", "said", "then "));
    }
    node.append(theirs("ins", "", shown(change.a)));
    return node;
  }

  function people(node, tag, word, all) {
    if (!all.length) { return; }
    var extra = all.length - MEMBERS;
    node.append(make("span", "", word + " "));
    node.append(theirs(tag, "", all.slice(0, MEMBERS).join(", ") + (extra > 0 ? " and " + number(extra) + " more" : "")));
  }

  // A value of Google's as text, for the search and for the eye.
  function said(value) {
    if (value === null || value === undefined) { return ""; }
    if (value === true) { return "yes"; }
    if (value === false) { return "no"; }
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  }

  function shown(value) {
    if (Array.isArray(value) || (value && typeof value === "object")) { return entries(value) || "nothing"; }
    return said(value) || "nothing";
  }

  function entries(value) {
    if (Array.isArray(value)) { return value.map(entries).join(" | "); }
    if (value && typeof value === "object") {
      return Object.keys(value).map(function (key) { return key + " " + entries(value[key]); }).join(", ");
    }
    return said(value);
  }

  // About the run

  function run() {
    var settings = data.options || {};
    var lines = [
      ["Compared", when(data.started) && when(data.ended) ? when(data.started) + ", in " + seconds(data.duration) : when(data.ended)],
      ["authentik", [data.authentik, data.server_version && "version " + data.server_version].filter(Boolean).join(", ")],
      ["Provider", [data.provider.name, data.provider.pk !== null && "number " + data.provider.pk].filter(Boolean).join(", ")],
      ["What", (settings.models || []).map(function (kind) { return kind === "user" ? "users" : "groups"; }).join(" and ") +
        (settings.objects ? ", only " + number(settings.objects.length) + " that were named" : "") +
        (settings.shard_count > 1 ? ", shard " + (settings.shard_index + 1) + " of " + settings.shard_count : "")],
      ["Members of groups", { add: "missing members would be added, none removed",
        exact: "missing members would be added, members that do not belong removed" +
          ((settings.keep_members || []).length ? ", except " + settings.keep_members.join(", ") : ""),
        ignore: "not compared" }[settings.membership]],
      ["No longer synced", { ignore: "not searched for", report: "listed, and not changed",
        apply: "the provider's delete actions" + (settings.allow_group_deletion ? ", deleting groups included" : ", without deleting groups") }[settings.orphans]],
      ["Requests", data.calls && data.calls.google !== undefined ? number(data.calls.authentik) + " to authentik, " + number(data.calls.google) + " to Google" : null],
      ["Result", [data.status, data.code].filter(Boolean).join(", ")]
    ];
    lines.forEach(function (pair) {
      if (!pair[1]) { return; }
      at("run").append(make("dt", "", pair[0]), theirs("dd", "", pair[1]));
    });
    texts("remarks", data.remarks, at("remarks"));
    texts("warnings", data.warnings, at("warnings-details"));
    var mappings = data.mapping_evaluation || [];
    at("mappings-details").hidden = !mappings.length;
    grid(at("mappings"), ["Property mapping", "Of", "Evaluated by", "Why"], mappings.map(function (item) {
      return [item.mapping, item.model === "group" ? "groups" : "users",
        item.evaluation === "local" ? "this collection" : "authentik", item.reason || ""];
    }));
  }

  function texts(id, all, box) {
    box.hidden = !(all && all.length);
    (all || []).forEach(function (text) { at(id).append(theirs("li", "", text)); });
  }

  function seconds(value) {
    var text = Number(value || 0).toLocaleString("en", { maximumFractionDigits: 1 });
    return text + (text === "1" ? " second" : " seconds");
  }

  // Colours and paper

  function theme() {
    var select = at("theme");
    function set(value) {
      if (value) { document.documentElement.dataset.theme = value; } else { delete document.documentElement.dataset.theme; }
      select.value = value;
    }
    var kept = "";
    // Some viewers have no memory for a page.
    try { kept = localStorage.getItem("drift_report_theme") || ""; } catch (error) { kept = ""; }
    set(kept === "light" || kept === "dark" ? kept : "");
    select.addEventListener("change", function () {
      set(select.value);
      try { localStorage.setItem("drift_report_theme", select.value); } catch (error) { return; }
    });
  }

  function paper() {
    at("print").addEventListener("click", function () { window.print(); });
    window.addEventListener("beforeprint", function () {
      show(found.slice(0, PRINTED));
      document.querySelectorAll("details").forEach(function (node) { node.open = true; });
      if (found.length > PRINTED) {
        at("shown").textContent = "The first " + number(PRINTED) + " of " + number(found.length) + " rows.";
      }
    });
    window.addEventListener("afterprint", draw);
  }

  at("page").hidden = false;
  theme();
  head();
  tiles();
  numbers();
  limits();
  filters();
  apply();
  run();
  paper();
  document.documentElement.dataset.ready = "true";
}());
