// The address that the page is open at, in the example for programs.
element.querySelector(".ft-address").textContent = document.baseURI.split(/[?#]/)[0].replace(/\/$/, "");
