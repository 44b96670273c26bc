"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll(".plot")].map((place) => {
    const figure = JSON.parse(place.querySelector("script").textContent);
    place.replaceChildren();
    return { place, figure };
  });
  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const line = style.getPropertyValue("--line"), text = style.getPropertyValue("--text");
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line };
    for (const { place, figure } of plots) {
      const layout = { ...figure.layout, font: { ...figure.layout.font, color: text, family: "system-ui, sans-serif" } };
      layout.xaxis = { ...figure.layout.xaxis, ...axis };
      layout.yaxis = { ...figure.layout.yaxis, ...axis };
      // Names of columns stand upright where there is no room for them beside each other.
      if (layout.xaxis.tickvals) layout.xaxis.tickangle = place.clientWidth < 130 * layout.xaxis.tickvals.length ? -90 : 0;
      layout.hoverlabel = { bgcolor: style.getPropertyValue("--box"), font: { color: text } };
      Plotly.react(place, figure.data, layout, { responsive: true, displayModeBar: false });
    }
  };
  draw();
  dark.addEventListener("change", draw);
})();
