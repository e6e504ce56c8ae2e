(function () {
  "use strict";
  var tip = document.getElementById("tip");
  function place(event) {
    var box = tip.getBoundingClientRect();
    var x = Math.min(event.clientX + 14, window.innerWidth - box.width - 8);
    var y = event.clientY - box.height - 12;
    tip.style.left = Math.max(8, x) + "px";
    tip.style.top = (Math.sign(y - 8) === -1 ? event.clientY + 18 : y) + "px";
  }
  document.querySelectorAll("[data-tip]").forEach(function (mark) {
    mark.addEventListener("pointerenter", function (event) {
      tip.textContent = mark.getAttribute("data-tip");
      tip.hidden = false;
      place(event);
    });
    mark.addEventListener("pointermove", place);
    mark.addEventListener("pointerleave", function () { tip.hidden = true; });
  });
  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll(".plan:not([open])"));
    opened.forEach(function (part) { part.open = true; });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (part) { part.open = false; });
  });
})();
