/* The page keeps nothing but what it has drawn: everything else is asked of the server, also after a reload. */
(() => {
  const query = () => new URLSearchParams(location.search).get("session") || "";
  const seen = { session: query(), list: "", question: "", fresh: true };
  const taken = new Set();
  const chosen = new Map(); // which foldable parts a person has opened or closed
  const at = (id) => document.getElementById(id);

  function drawn() {
    const log = at("mi-log");
    return log && log.dataset.session === seen.session ? log.dataset : {};
  }

  function where() {
    const list = at("mi-list") && at("mi-list").childElementCount ? seen.list : "";
    return JSON.stringify({
      session: seen.session, epoch: +drawn().epoch || 0, version: +drawn().version || 0,
      list, question: seen.question, fresh: seen.fresh, tab: tab(),
    });
  }

  function tab() {
    const open = document.querySelector("#mi-tabs button[role=tab][aria-selected=true]");
    return open ? open.textContent.trim() : "";
  }

  function take(told) { // the answer to what the page has asked or done; the panels show it by now
    let news;
    try { news = JSON.parse(told); } catch { return; }
    if (!news || taken.has(news.n)) return;
    taken.add(news.n);
    if (news.anew) seen.question = news.question; // whatever became of the rest
    if (show(news)) seen.fresh = false;
    if (!stream && (!again || tries)) listen(); // not where it waits for a place of its own
  }

  function show(news) {
    const log = at("mi-log");
    if (!log || elsewhere(news.server)) return false;
    if (news.asked !== seen.session) return false; // of a session that the person has left
    if (news.session !== seen.session) go(news.session, true);
    else if (+drawn().epoch > news.epoch) return false; // overtaken by a newer one
    const bottom = window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 160;
    if (news.reset || log.dataset.session !== seen.session) {
      log.replaceChildren();
      delete log.dataset.version;
    }
    log.dataset.session = seen.session;
    news.items.forEach((item) => draw(log, item));
    log.dataset.epoch = news.epoch;
    log.dataset.version = Math.max(news.version, +log.dataset.version || 0);
    at("mi-status").innerHTML = news.status;
    document.body.dataset.mi = news.question ? "asks" : news.state;
    document.body.dataset.miEmpty = log.childElementCount ? "" : "yes";
    if (news.rows !== undefined && at("mi-list")) {
      at("mi-list").innerHTML = news.rows;
      seen.list = news.list;
    }
    if (news.error) error(news.error);
    if (news.anew && news.question) setTimeout(() => {
      const panel = document.querySelector("#mi-question");
      if (panel) panel.scrollIntoView({ block: "end" });
    }, 250);
    if (bottom && news.items.length) window.scrollTo({ top: document.documentElement.scrollHeight });
    return true;
  }

  // The server tells what is new; the page asks only where Gradio's own components have to change.

  const QUIET_MS = 40000; // it says something each 15 s; after this it is gone
  const MOST = 4; // a browser has six connections to one host: two stay free for what pages do
  const CROWDED_MS = 3000; // a page that got none of them asks so often
  let stream = null, tries = 0, again = 0, server = "";

  function listen() {
    hush();
    if (document.hidden || !server) return;
    const own = stream = new AbortController();
    follow(own).catch(() => ({ failed: true })).then((end) => {
      if (stream !== own) return; // another one has taken its place
      hush();
      if (end && end.out) return location.reload(); // to the login
      if (end && end.crowded) { tries = 0; look(); again = setTimeout(listen, CROWDED_MS); return; }
      if (!end || !end.failed) return listen();
      tries += 1;
      offline(tries > 1);
      again = setTimeout(listen, Math.min(10000, 500 * 2 ** tries) * (0.75 + Math.random() / 2));
    });
  }

  function hush() {
    clearTimeout(again);
    again = 0;
    if (stream) stream.abort();
    stream = null;
  }

  async function place() { // one of the few streams of this browser, and how to give it back
    if (!navigator.locks) return () => {};
    for (let n = 0; n < MOST; n += 1) {
      const free = await new Promise((got) => navigator.locks.request("mi-news-" + n, { ifAvailable: true },
        (lock) => (lock ? new Promise((done) => got(done)) : got(null))));
      if (free) return free;
    }
    return null;
  }

  async function follow(own) {
    const free = await place();
    if (!free) return { crowded: true };
    let timer = 0;
    const wait = () => { clearTimeout(timer); timer = setTimeout(() => own.abort(), QUIET_MS); };
    wait();
    try {
      const answer = await fetch("news?where=" + encodeURIComponent(where()), { signal: own.signal, cache: "no-store" });
      if (answer.status === 401 || answer.redirected) return { out: true };
      if (!answer.ok) return { failed: true };
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { done, value } = await reader.read();
        if (done) return { failed: false };
        wait();
        tries = 0;
        offline(false);
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) if (stream === own && part.startsWith("data: ")) hear(JSON.parse(part.slice(6)));
      }
    } finally {
      clearTimeout(timer);
      free();
    }
  }

  function hear(news) {
    if (news.items && show(news) && (news.question !== seen.question || seen.fresh)) look();
    if (news.panel) click("mi-refresh");
  }

  function elsewhere(now) { // another process answers than the one that made this page
    if (server && now !== server) {
      const box = document.querySelector("#mi-prompt textarea");
      if (box && box.value) sessionStorage.setItem("mi-draft", box.value);
      location.reload();
      return true;
    }
    server = now;
    return false;
  }

  function offline(is) {
    document.body.dataset.miOffline = is ? "yes" : "";
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? hush() : server && listen()));
  window.addEventListener("online", () => server && !document.hidden && listen());
  window.addEventListener("pageshow", (event) => event.persisted && server && listen());
  document.addEventListener("click", (event) => {
    if (event.target.closest && event.target.closest("#mi-tabs button[role=tab]") && server) setTimeout(listen, 100);
  });

  function draw(log, [id, version, html]) {
    let node = log.querySelector(`:scope > [data-item="${CSS.escape(id)}"]`);
    if (node && +node.dataset.version >= version) return;
    const ends = new Map();
    if (node) node.querySelectorAll("pre[data-k]").forEach((pre) => {
      ends.set(pre.dataset.k, pre.scrollTop + pre.clientHeight > pre.scrollHeight - 30 ? -1 : pre.scrollTop);
    });
    if (!node) {
      node = document.createElement("div");
      node.dataset.item = id;
      log.appendChild(node);
    }
    node.dataset.version = version;
    node.innerHTML = html;
    node.querySelectorAll("details[data-k]").forEach((part) => {
      if (chosen.has(part.dataset.k)) part.open = chosen.get(part.dataset.k);
    });
    node.querySelectorAll("pre[data-k]").forEach((pre) => {
      const end = ends.has(pre.dataset.k) ? ends.get(pre.dataset.k) : -1;
      pre.scrollTop = end < 0 ? pre.scrollHeight : end;
    });
  }

  function error(words) {
    const box = at("mi-error");
    box.firstElementChild.textContent = words;
    box.hidden = false;
  }

  function go(session, here) {
    seen.session = session;
    seen.fresh = true;
    chosen.clear();
    at("mi-error").hidden = true;
    const url = new URL(location.href);
    if (session) url.searchParams.set("session", session); else url.searchParams.delete("session");
    if (url.href !== location.href) history.pushState({}, "", url);
    document.querySelectorAll(".mi-session").forEach((a) => {
      if (a.dataset.session === session) a.setAttribute("aria-current", "true");
      else a.removeAttribute("aria-current");
    });
    fold();
    if (!here) {
      at("mi-log").replaceChildren();
      delete at("mi-log").dataset.session;
      document.body.dataset.mi = session ? "loading" : "new";
      document.body.dataset.miEmpty = session ? "" : "yes";
      look();
    }
    if (server) setTimeout(listen); // once all of what is told now is drawn
  }

  function fold() { // on a narrow window the sidebar covers the session
    const bar = document.querySelector(".sidebar.open");
    const handle = bar && bar.querySelector("button.toggle-button");
    if (handle && window.innerWidth < 768) handle.click();
    return !!bar;
  }

  function write(words) {
    const box = document.querySelector("#mi-prompt textarea");
    box.value = words;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.focus();
  }

  function look() {
    click("mi-look");
  }

  function click(id) {
    const button = at(id);
    if (button) (button.tagName === "BUTTON" ? button : button.querySelector("button")).click();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a.mi-session, a#mi-new");
    const example = event.target.closest && event.target.closest(".mi-welcome button");
    if (example) write(example.textContent);
    if (event.target.closest && event.target.closest("#mi-error button")) at("mi-error").hidden = true;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(link.dataset.session || "");
  });
  document.addEventListener("click", (event) => {
    const part = event.target.closest && event.target.closest("details[data-k] > summary");
    if (part) setTimeout(() => chosen.set(part.parentElement.dataset.k, part.parentElement.open));
  });
  window.addEventListener("popstate", () => go(query()));
  let folds = 0;
  const begun = setInterval(() => {
    const box = document.querySelector("#mi-prompt textarea"), draft = sessionStorage.getItem("mi-draft");
    if (box && draft) { write(draft); sessionStorage.removeItem("mi-draft"); }
    if (fold() || ++folds > 100) clearInterval(begun);
  }, 100);
  window.mi = { where, take, go };
})();
