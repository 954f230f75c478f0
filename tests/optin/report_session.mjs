// Opens a report in Chromium as a reader would, and prints what was seen as JSON.
// Usage: node report_session.mjs CHROMIUM LOOK ADDRESS, where LOOK is {width, scheme, motion, shot}.
import { chromium } from "playwright-core";

const [executablePath, look, address] = [process.argv[2], JSON.parse(process.argv[3]), process.argv[4]];
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

// Ratio of contrast of every visible text to what is behind it, the worst first (WCAG 2.2, 1.4.3).
function contrasts() {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (rgb) => {
    const [r, g, b] = [0, 1, 2].map((i) => rgb[i] / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = rgba(getComputedStyle(at).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("title, style, .hidden, .skip") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = light(rgba(element instanceof SVGElement ? style.fill : style.color));
    const paper = light(behind(element));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    found.push([Math.round(ratio * 100) / 100, node.data.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}

const browser = await chromium.launch({ executablePath, args: quiet });
const seen = { console: [], requests: [], dialogs: 0 };
try {
  const page = await browser.newPage({
    viewport: { width: look.width, height: 900 }, colorScheme: look.scheme, reducedMotion: look.motion,
  });
  page.on("console", (message) => seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(error.message));
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("dialog", (dialog) => { seen.dialogs += 1; dialog.dismiss(); });
  const shown = (selector) => page.locator(selector).isVisible();
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  await page.goto(address);
  seen.load_ms = await page.evaluate(() => performance.getEntriesByType("navigation")[0].loadEventEnd);
  seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  seen.elements = await page.evaluate(() => document.querySelectorAll("*").length);
  seen.paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  seen.smooth = await page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior);
  if (look.shot) await page.screenshot({ path: look.shot });

  await page.keyboard.press("Tab");
  seen.first_focus = await focused();
  await page.keyboard.press("Enter");
  seen.skipped_to = await page.evaluate(() => location.hash);
  await page.locator("#tab-cost").focus();
  seen.focus_ring = await page.evaluate(() =>
    getComputedStyle(document.querySelector("#tab-cost + label")).outlineStyle);
  await page.keyboard.press("ArrowRight");
  seen.tab = await focused();
  seen.panels = [await shown(".panel.cost"), await shown(".panel.tokens")];
  await page.locator(".panel.tokens summary").focus();
  await page.keyboard.press("Enter");
  seen.table = await shown(".panel.tokens table");
  seen.contrasts = (await page.evaluate(contrasts)).slice(0, 5);

  const link = page.locator("#chats tbody a").first();
  await link.focus();
  await page.keyboard.press("Enter");
  const thread = page.locator("main.thread").filter({ visible: true });
  await thread.first().waitFor();
  seen.threads = await thread.count();
  seen.report_behind_thread = await page.locator(".report").filter({ visible: true }).count();
  seen.thread_overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.getByRole("link", { name: "Back to the report" }).filter({ visible: true }).focus();
  await page.keyboard.press("Enter");
  await page.locator(".report").waitFor();
  seen.back = await shown("#chats");
  seen.landmarks = await page.getByRole("main").filter({ visible: true }).count();
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
