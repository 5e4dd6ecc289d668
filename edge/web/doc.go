// Package web is the page that an edge shows to a browser: plain HTML, CSS and JavaScript
// in page/, embedded, built by nothing and loading nothing from elsewhere.
//
// page/tidings.js speaks the protocol: it subscribes at ws beside the page, resumes, drops what
// it heard before and moves when the edge drains. page/page.js shows what comes; whatever came over the
// socket enters the document as text and never as markup, and the
// Content-Security-Policy holds even if that were to go wrong one day.
//
// [Handler] answers GET and HEAD for the files of page/ and 404 for all else. Each
// file has an ETag of its content and is asked for anew each time, so that a page
// never runs with a script of another version.
//
// Promises, and the tests that hold them: TestHandler_ServesThePage, TestHandler_SaysNotModified,
// TestHandler_RefusesOtherMethods, TestHandler_KnowsNothingElse,
// TestPage_LoadsNothingFromElsewhere, TestPage_InsertsNoMarkup.
package web
