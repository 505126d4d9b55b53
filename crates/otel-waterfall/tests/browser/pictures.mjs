// Takes the pictures of the README: `cargo xtask ci browser` has the environment, `PICTURES` names the folder.

import { join } from 'node:path';
import { LAPTOP, PHONE, demo, launch, open } from './harness.mjs';

const browser = await launch();
const url = demo();
const views = {
  list: async () => {},
  trace: async (shown) => {
    await shown.locator('.trace-row.failed').nth(1).click();
    await shown.click('.errors');
  },
  import: async (shown) => {
    await shown.locator('.trace-row.failed').first().click();
    await shown.click('.errors');
  },
  services: (shown) => shown.click('#tab-map'),
  metrics: (shown) => shown.click('#tab-metrics'),
  logs: (shown) => shown.click('#tab-logs'),
};
for (const [size, viewport] of [['laptop', LAPTOP], ['phone', PHONE]]) {
  for (const colorScheme of ['light', 'dark']) {
    for (const [name, show] of Object.entries(views)) {
      const shown = await open(browser, url, { viewport, colorScheme });
      await show(shown);
      await shown.mouse.move(0, 0);
      await shown.screenshot({ path: join(process.env.PICTURES, `${name}-${size}-${colorScheme}.png`) });
      await shown.context().close();
    }
  }
}
await browser.close();
